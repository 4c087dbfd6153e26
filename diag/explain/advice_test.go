package explain

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailsrv/codes"
)

// The seed pages hold advice that is wrong or dangerous (design/seed-coverage.md
// section 13). None of it may stand in any text of the catalogue, in either
// language.
var badAdvice = []struct {
	what string
	find *regexp.Regexp
}{
	{"copying a temporary drop over newer mail", regexp.MustCompile(`(?i)\bcp\s+\.?\S*\.pop\b`)},
	{"deleting everybody's locks", regexp.MustCompile(`(?i)\brm\s+(-\w+\s+)?\S*\*\S*\.pop\b|\brm\s+(-\w+\s+)?\S*\*\.lock\b`)},
	{"killing by name", regexp.MustCompile(`(?i)grep\s+popper|killall|pkill|kill\s+-(9|KILL)`)},
	{"deleting and re-creating the user", regexp.MustCompile(`(?i)\buserdel\b`)},
	{"a resolver of 2001", regexp.MustCompile(`192\.153\.156\.22|noc\.cerf`)},
	{"dead block lists", regexp.MustCompile(`(?i)maps\.vix|\borbs\b|dorkslayers`)},
	{"relaying by sender domain", regexp.MustCompile(`(?i)allow_relay_from`)},
	{"obsolete or wrong RFCs", regexp.MustCompile(`RFC ?(2822|1132|1893|821|2821|822)\b`)},
	{"switching attachment protection off", regexp.MustCompile(`(?i)(untick|uncheck|clear|switch off|disable)[^.]{0,60}(attachment|virus could)|添付[^。]{0,40}チェックを(外|はず)`)},
	{"opening plain POP3 to the internet", regexp.MustCompile(`(?i)(open|forward|publish) (tcp )?(port )?110\b|110 ?番(ポート)?を(インターネットに)?(開放|公開)`)},
	{"leaving loopback without login", regexp.MustCompile(`(?i)always (leave|keep) 127\.0\.0\.1`)},
	{"the antivirus switched off as a whole", regexp.MustCompile(`(?i)(uninstall|disable|turn off|switch off) (the |your )?(antivirus|virus protection|virus scanner)( program| product)?(\.|$)|ウイルス対策ソフトを(無効|停止)にします。?$`)},
}

func TestNoBadAdvice(t *testing.T) {
	n := 0
	eachText(func(where, text string) {
		n++
		for _, bad := range badAdvice {
			if words := bad.find.FindString(text); words != "" {
				t.Errorf("%s: %s: %q in %q", where, bad.what, words, text)
			}
		}
	})
	if n < 10000 {
		t.Errorf("only %d texts were looked at", n)
	}
}

// The patterns must be able to find what they are for.
func TestBadAdviceIsFound(t *testing.T) {
	for _, s := range []string{
		"cp .aaa.pop aaa", "rm .*.pop", "ps -e | grep popper", "kill -9 15313", "userdel taro", "192.153.156.22", "rbl.maps.vix.com", "ORBS",
		"www.dorkslayers.com", "ALLOW_RELAY_FROM=x", "RFC 2822 section 1", "RFC1893", "Untick 'Do not allow attachments to be saved'", "Open port 110 in the router.",
		"Disable the antivirus.", "「ウイルスの可能性がある添付ファイルを保存したり開いたりしない」のチェックを外します。",
	} {
		if !slices.ContainsFunc(badAdvice, func(b struct {
			what string
			find *regexp.Regexp
		}) bool {
			return b.find.MatchString(s)
		}) {
			t.Errorf("%q passes as good advice", s)
		}
	}
}

// eachText visits every text that people may read: entries, causes, findings.
func eachText(visit func(where, text string)) {
	all := func(where string, texts ...string) {
		for _, x := range texts {
			visit(where, x)
		}
	}
	for _, e := range codes.All() {
		for _, x := range []codes.Text{e.En, e.Ja} {
			all(e.ID(), x.Title, x.Meaning)
			all(e.ID(), x.Causes...)
			all(e.ID(), x.Fixes...)
		}
		all(e.ID(), e.References...)
	}
	for _, w := range codes.CauseWords {
		c := codes.CauseOf(w)
		for _, x := range []codes.CauseText{c.En, c.Ja} {
			all("cause "+w, x.Title, x.Why)
			all("cause "+w, x.Fixes...)
		}
	}
	for _, id := range codes.FindingIDs() {
		f := codes.FindingOf(id)
		for _, x := range []codes.IDText{f.En, f.Ja} {
			all("finding "+id, x.Meaning, x.Title, x.Detail)
			all("finding "+id, x.Causes...)
		}
		for _, x := range f.Fix {
			all("finding "+id, x.En, x.Ja, x.Command, x.Record)
		}
		all("finding "+id, f.References...)
	}
}

func entryText(t *testing.T, key string) codes.Text {
	t.Helper()
	es := codes.Lookup(key)
	if len(es) == 0 {
		t.Fatalf("%s is not in the catalogue", key)
	}
	return es[0].En
}

// 10054 is a reset by the other side: DNS is not among the likely causes.
func TestResetIsNotBlamedOnDNS(t *testing.T) {
	for _, key := range []string{"10054", "SS00", "argosoft/reset-retry", "net/reset"} {
		e := codes.Lookup(key)[0]
		for _, x := range []codes.Text{e.En, e.Ja} {
			for i, c := range x.Causes[:min(3, len(x.Causes))] {
				if strings.Contains(c, "DNS") {
					t.Errorf("%s: cause %d is %q", key, i+1, c)
				}
			}
		}
		if e.Cause == "dns-failure" {
			t.Errorf("%s comes down to DNS", key)
		}
	}
}

// Deleting and re-creating the account comes last where it comes at all.
func TestAccountIsRecreatedLast(t *testing.T) {
	again := regexp.MustCompile(`(?i)(delete|remove) (the |your )?(e-?mail |mail )?account.{0,40}(again|anew|re-?create|new one)|re-?create (the |your )?account|アカウントを(いったん)?(削除して|作り直)`)
	for _, e := range codes.All() {
		for _, x := range []codes.Text{e.En, e.Ja} {
			for i, fix := range x.Fixes {
				if again.MatchString(fix) && i < len(x.Fixes)-1 && i < 2 {
					t.Errorf("%s: step %d of %d: %q", e.ID(), i+1, len(x.Fixes), fix)
				}
			}
		}
	}
}

// What the seed says the wrong way round stands corrected.
func TestCorrections(t *testing.T) {
	for _, tt := range []struct {
		key, must string // a word of the corrected text
	}{
		{"FAQ52", "no safe sign of the protocol"},
		{"FAQ61", "extension"},
		{"FAQ05", "resolver"},
		{"FAQ56", "995"},
		{"FAQ60", "file protection"},
		{"FAQ00", "file protection"},
		{"452", "storage"},
		{"252", "VRFY"},
	} {
		x := entryText(t, tt.key)
		text := strings.Join(slices.Concat([]string{x.Title, x.Meaning}, x.Causes, x.Fixes), " ")
		if !strings.Contains(strings.ToLower(text), strings.ToLower(tt.must)) {
			t.Errorf("%s does not speak of %q: %q", tt.key, tt.must, text)
		}
	}
	if fixes := entryText(t, "0x800CCC78").Fixes; !strings.Contains(strings.Join(fixes, " "), "E-mail Address field") {
		t.Errorf("0x800CCC78 does not name the field that is sent: %q", fixes)
	}
}
