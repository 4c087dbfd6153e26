package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
)

func TestSpellings(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"0x800CCC0E", "0x800CCC0E"},
		{"800ccc0e", "0x800CCC0E"},
		{"0X800CCC0E", "0x800CCC0E"},
		{"Ox800CCCOE", "0x800CCC0E"},
		{"0x8OOCCCOE", "0x800CCC0E"},
		{"0×800CCC0E", "0x800CCC0E"},
		{"０ｘ８００ＣＣＣ０Ｅ", "0x800CCC0E"},
		{"(0x800CCC0E)", "0x800CCC0E"},
		{"“0x800CCC0E”", "0x800CCC0E"},
		{"0x800C\nCC0E", "0x800CCC0E"},
		{"-2146644978", "0x800CCC0E"},
		{"−2146644978", "0x800CCC0E"},
		{"2148322318", "0x800CCC0E"},
		{"Error Number: 0x800CCC0E", "0x800CCC0E"},
		{"エラー番号 : 0x800CCC0E", "0x800CCC0E"},
		{"10061", "10061"},
		{"１００６１", "10061"},
		{"[10048]", "10048"},
		{"#10048", "10048"},
		{"Socket Error: 10061", "10061"},
		{"ソケット エラー: 10061", "10061"},
		{"WSAECONNREFUSED", "10061"},
		{"wsaeconnrefused", "10061"},
		{"ECONNREFUSED", "10061"},
		{"111", "111"},
		{"0x8007274D", "0x8007274D = 10061"},
		{"0x8007274c", "0x8007274C = 10060"},
		{"-2147014835", "0x8007274D = 10061"},
		{"0x80072EE7", "0x80072EE7 = 12007"},
		{"550", "550"},
		{"SMTP error 550", "550"},
		{"5.7.1", "5.7.1"},
		{"550 5.7.1", "5.7.1 550"},
		{"550-5.7.26", "5.7.26 550"},
		{"550/5.7.1", "5.7.1 550"},
		{"550.5.7.1", ""},
		{"250", "250"},
		{"FAQ00", "FAQ00"},
		{"faq00", "FAQ00"},
		{"SG00", "SG00"},
		{"Q8", "Q8"},
		{"pop-before-smtp", "pop-before-smtp"},
		{"topic pop-before-smtp", "pop-before-smtp"},
		{"topic/pop-before-smtp", "pop-before-smtp"},
		{"winsock/10048", "10048"},
		{"0x800CCC0E, 10061 and 550 5.7.1", ""},
		{"0x800CCC0E 10061", "0x800CCC0E 10061"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			r := Explain([]byte(tt.in), codes.English)
			got := ""
			if r.Input.Kind == KindCode {
				var found []string
				for _, m := range r.Matches {
					if m.DerivedFrom != "" {
						found[len(found)-1] += " = " + m.Code
						continue
					}
					found = append(found, m.Code)
				}
				got = strings.Join(found, " ")
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Everything the catalogue has is found by its code, symbol and aliases, in
// either letter case; HRESULTs also as decimals and without their prefix.
func TestEveryEntryIsFound(t *testing.T) {
	n := 0
	for _, e := range codes.All() {
		for _, key := range append([]string{e.Code, e.Symbol, e.ID()}, e.Aliases...) {
			if key == "" || strings.Contains(key, "x.") && !strings.HasPrefix(key, "0x") {
				continue
			}
			for _, in := range spellingsOf(key) {
				n++
				r := Explain([]byte(in), codes.English)
				if r.Input.Kind != KindCode || !slices.ContainsFunc(r.Matches, func(m Match) bool { return m.ID == e.ID() && m.Title == e.En.Title }) {
					t.Errorf("%s: %q is answered as %s %v", e.ID(), in, r.Input.Kind, ids(r))
				}
			}
		}
	}
	if n < 1500 {
		t.Errorf("only %d spellings tried", n)
	}
}

func spellingsOf(key string) []string {
	out := []string{key, strings.ToLower(key), strings.ToUpper(key)}
	if v, err := strconv.ParseUint(strings.TrimPrefix(key, "0x"), 16, 32); err == nil && strings.HasPrefix(key, "0x8") && len(key) == 10 {
		out = append(out, strings.ToLower(key[2:]), fmt.Sprint(v), fmt.Sprint(int32(v)), strings.ReplaceAll(key, "0", "O"))
	}
	return out
}

func ids(r Result) []string {
	var out []string
	for _, m := range r.Matches {
		out = append(out, m.ID)
	}
	return out
}

func TestNearMisses(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string // among the suggestions
	}{
		{"0x800CCC0", "0x800CCC00"},
		{"0x80CCC0E", "0x800CCC0E"},
		{"WSAECONREFUSED", "WSAECONNREFUSED"},
		{"WSAECONNREFUSDE", "WSAECONNREFUSED"},
		{"pop-before-stmp", "pop-before-smtp"},
		{"10068", "10048"},
	} {
		r := Explain([]byte(tt.in), codes.English)
		if r.Input.Kind != KindCode || len(r.Matches) > 0 && r.Matches[0].Title != "" || r.Recognised() || !slices.Contains(r.DidYou, tt.want) {
			t.Errorf("%q: %s %v, suggestions %q, want %s", tt.in, r.Input.Kind, ids(r), r.DidYou, tt.want)
		}
	}
	if r := Explain([]byte("hello"), codes.English); r.Input.Kind != KindText || len(r.DidYou) > 0 {
		t.Errorf("a plain word is taken for a code: %s %q", r.Input.Kind, r.DidYou)
	}
}

// An unknown reply or status is answered by its class.
func TestClassesAnswerUnknownCodes(t *testing.T) {
	for in, want := range map[string]string{"559": "smtp/5xx", "459": "smtp/4xx", "5.7.999": "enhanced/x.7.x", "4.1.99": "enhanced/x.1.x"} {
		r := Explain([]byte(in), codes.English)
		if len(r.Matches) != 1 || r.Matches[0].ID != want || r.Matches[0].Code != in {
			t.Errorf("%s: %v, want %s", in, ids(r), want)
		}
	}
}

func TestNumbersThatAreNoCodes(t *testing.T) {
	for _, in := range []string{
		"Port: 110", "port 25 and 587", "192.0.2.550", "10.0.61.10061", "2025-05-13 10:06:10", "12.05.2024", "5.7.2024",
		"550.00 EUR", "1,550", "call 0800 10061", "+49 550 123", "10061 Main Street", "room 550", "version 5.7.26", "MySQL 5.7.26",
		"v4.4.7", "order number 2148322318", "ABC-10061-550", "size 552 KB", "http://example.com/550/5.7.1", "1.5.7.1", "421.5",
	} {
		for _, c := range scanCodes(in) {
			if !c.weak {
				t.Errorf("%q: %s counts as a code", in, c.canon)
			}
		}
		if r := Explain([]byte("Hello,\n"+in+"\nBye"), codes.English); len(r.Matches) > 0 {
			t.Errorf("%q: %v", in, ids(r))
		}
	}
}

func TestScanCodes(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string // "code", "~code" for a weak one, "code<origin"
	}{
		{"host mx said: 550 5.1.1 <a@example.com>: unknown", []string{"550", "5.1.1"}},
		{"550-5.7.26 one\n550 5.7.26 two", []string{"550", "5.7.26", "550", "5.7.26"}},
		{"553 sorry, not in my rcpthosts (#5.7.1)", []string{"~553", "5.7.1"}},
		{"550 #5.1.0 Address rejected", []string{"550", "5.1.0"}},
		{"550.1.1: User unknown", []string{"550", "5.1.1<550.1.1"}},
		{"mailbox unavailable - 550", []string{"~550"}},
		{"Server Error: 552, Error Number: 0x800CCC6D", []string{"552", "0x800CCC6D"}},
		{"reported error (0x80042109) :", []string{"0x80042109"}},
		{"defer (111): Connection refused", []string{"111"}},
		{"[Errno 110] Connection timed out", []string{"110"}},
		{"lock busy! Is another session active? (11)", []string{"11"}},
		{"Error -2146644978 occurred", []string{"0x800CCC0E"}},
		{"connect ECONNREFUSED 127.0.0.1:25", []string{"ECONNREFUSED"}},
		{"winapi error #10048", []string{"10048"}},
		{"250 2.1.5 Ok", nil},
		{"354 go ahead", nil},
		{"dsn=5.2.2, status=bounced", []string{"5.2.2"}},
	} {
		var got []string
		for _, c := range scanCodes(tt.in) {
			s := c.canon
			if c.weak {
				s = "~" + s
			}
			if c.from != "" {
				s += "<" + c.from
			}
			got = append(got, s)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.in, diff)
		}
	}
}
