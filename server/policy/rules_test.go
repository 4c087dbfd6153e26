package policy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
)

// zone answers from a table: "MX example.net" or "A mx.example.net" to words; a
// name that is not there does not exist.
type zone struct {
	records map[string]string

	mu    sync.Mutex
	asked map[string]int
}

func (z *zone) ask(ctx context.Context, key string) ([]string, error) {
	z.mu.Lock()
	if z.asked == nil {
		z.asked = map[string]int{}
	}
	z.asked[key]++
	z.mu.Unlock()
	switch r, ok := z.records[strings.TrimSuffix(key, ".")]; {
	case r == "silence":
		<-ctx.Done()
		return nil, ctx.Err()
	case r == "servfail":
		return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	case !ok:
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	default:
		return strings.Fields(r), nil
	}
}

func (z *zone) LookupMX(ctx context.Context, name string) (out []*net.MX, err error) {
	words, err := z.ask(ctx, "MX "+name)
	for _, w := range words {
		out = append(out, &net.MX{Host: w, Pref: 10})
	}
	return out, err
}

func (z *zone) LookupNetIP(ctx context.Context, _, name string) (out []netip.Addr, err error) {
	words, err := z.ask(ctx, "A "+name)
	for _, w := range words {
		out = append(out, netip.MustParseAddr(w))
	}
	return out, err
}

// ruled is a policy of example.com, with taro and a configuration's rules.
func ruled(t *testing.T, settings string, records map[string]string) (*Policy, *zone) {
	t.Helper()
	dir := t.TempDir()
	c, ps := config.Parse(filepath.Join(dir, "mailsrv.toml"), []byte("hostname = \"mail.example.com\"\ndomains = [\"example.com\", \"localhost\"]\n[listen]\nsmtp = \":25\"\n"+settings))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	files := account.Open(c.DataDir, c.Domains)
	for _, name := range []string{"taro", "hanako"} {
		if _, err := files.Add(name, "example.com", "correct horse battery"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"postmaster", "sales"} {
		if err := files.SetForward(name, "example.com", []string{"taro@example.com"}); err != nil {
			t.Fatal(err)
		}
	}
	p := New(c, files)
	z := &zone{records: records}
	p.dns = newDNSCache(z)
	return p, z
}

// ask is "CLIENT HELO FROM TO [USER]"; "<>" is the null sender.
func ask(t *testing.T, p *Policy, words string) Decision {
	t.Helper()
	w := strings.Fields(words)
	r := Request{Client: netip.MustParseAddr(w[0]), Listener: config.SMTP, HELO: w[1], Recipient: addr(t, w[3])}
	if w[2] != "<>" {
		r.Sender = addr(t, w[2])
	}
	if len(w) > 4 {
		r.User = w[4]
	}
	return p.Decide(r)
}

// verdict is rule and reply, or the marks of what was accepted.
func verdict(d Decision) string {
	s := d.Rule + ": " + d.Reply()
	if d.Verdict == Accept {
		s = "ok " + d.Rule
		for _, m := range d.Marks {
			s += ", marked " + m.Rule
		}
	}
	return s
}

type question struct{ ask, want string }

func decide(t *testing.T, p *Policy, questions []question) {
	t.Helper()
	for _, q := range questions {
		if got := verdict(ask(t, p, q.ask)); got != q.want {
			t.Errorf("%s:\n%s\nwant\n%s", q.ask, got, q.want)
		}
	}
}

const denied = "relay.denied: 550 5.7.1 User not local. Authentication required for relay"

func TestBackupMX(t *testing.T) {
	p, _ := ruled(t, "[relay]\nbackup_mx = [\"example.net\", \".example.org\"]\n", nil)
	decide(t, p, []question{
		{"203.0.113.9 h a@x.example b@example.net", "ok relay.backup_mx"},
		{"203.0.113.9 h <> b@EXAMPLE.NET", "ok relay.backup_mx"},
		{"203.0.113.9 h a@x.example b@sub.example.org", "ok relay.backup_mx"},
		{"203.0.113.9 h a@x.example b@example.org", denied},
		{"203.0.113.9 h a@example.net b@other.example", denied}, // the sender's domain opens nothing
		{"203.0.113.9 h a@x.example b@sub.example.net", denied},
		{"203.0.113.9 h a@x.example b%other.example@example.net", "relay.backup_mx: 550 5.7.1 Addresses that ask to be passed on are not taken"},
		{"203.0.113.9 h a@x.example other.example!b@example.net", "relay.backup_mx: 550 5.7.1 Addresses that ask to be passed on are not taken"},
		{`203.0.113.9 h a@x.example "b@other.example"@example.net`, "relay.backup_mx: 550 5.7.1 Addresses that ask to be passed on are not taken"},
		{"203.0.113.9 h a@x.example @example.net:b@other.example", denied},
	})
	if d := ask(t, p, "203.0.113.9 h a@x.example b@example.net"); !d.Out {
		t.Error("is not sent on")
	}
}

// Right network and right sender, and each of them alone.
func TestRelayClient(t *testing.T) {
	p, _ := ruled(t, `
[[relay.client]]
networks = ["192.0.2.0/24"]
senders = ["shop.example", "<>"]
[[relay.client]]
networks = ["198.51.100.7"]
recipients = ["example.net"]
`, nil)
	decide(t, p, []question{
		{"192.0.2.9 h a@shop.example x@other.example", "ok relay.client"},
		{"192.0.2.9 h <> x@other.example", "ok relay.client"},
		{"192.0.2.9 h a@other.example x@other.example", denied},
		{"203.0.113.9 h a@shop.example x@other.example", denied},
		{"198.51.100.7 h a@other.example x@example.net", "ok relay.client"},
		{"198.51.100.7 h a@other.example x@other.example", denied},
		{"198.51.100.8 h a@other.example x@example.net", denied},
	})
	why := ask(t, p, "192.0.2.9 h a@other.example x@other.example")
	want := Trace{Rule: "relay.client", Why: "192.0.2.9 is in 192.0.2.0/24 of a [[relay.client]] that does not take the sender <a@other.example>"}
	if diff := cmp.Diff(want, why.Rules[len(why.Rules)-2]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPopBeforeSMTP(t *testing.T) {
	p, _ := ruled(t, "[relay]\npop_before_smtp = \"10m\"\n", nil)
	const q = "203.0.113.9 h a@x.example b@example.net"
	decide(t, p, []question{{q, denied}})
	data := filepath.Dir(p.Passes.file)
	p.Passes.LoggedIn("taro@example.com", netip.MustParseAddr("::ffff:203.0.113.9"), slog.New(slog.DiscardHandler))
	decide(t, p, []question{
		{q, "ok pop.before_smtp"},
		{"203.0.113.10 h a@x.example b@example.net", denied},
	})
	// Another process sees it, and so does the server after a restart.
	again := OpenPasses(data, 10*time.Minute)
	if pass, ok := again.Open(netip.MustParseAddr("203.0.113.9")); !ok || pass.User != "taro@example.com" {
		t.Errorf("after a restart: %+v, %v", pass, ok)
	}
	// A shorter window holds for what was opened before.
	if _, ok := OpenPasses(data, time.Minute).Open(netip.MustParseAddr("203.0.113.9")); ok {
		t.Error("a window that was made smaller does not hold")
	}
	// Whoever fetches again keeps it open; it is written down now and then only.
	again.open[netip.MustParseAddr("203.0.113.9")] = Pass{User: "taro@example.com", Until: time.Now().Add(-time.Second)}
	if _, ok := again.Open(netip.MustParseAddr("203.0.113.9")); ok {
		t.Error("still open after its time")
	}
	again.LoggedIn("taro@example.com", netip.MustParseAddr("203.0.113.9"), slog.New(slog.DiscardHandler))
	if _, ok := again.Open(netip.MustParseAddr("203.0.113.9")); !ok {
		t.Error("not opened again")
	}
	// With the account goes what it opened.
	if err := p.Accounts.(*account.Files).Remove("taro", "example.com"); err != nil {
		t.Fatal(err)
	}
	decide(t, p, []question{{q, denied}})
}

func TestRules(t *testing.T) {
	p, _ := ruled(t, `
[relay]
networks = ["198.51.100.0/24"]
[[rule]]
name = "friends"
action = "allow"
senders = ["friend@spam.example"]
[[rule]]
name = "spam"
action = "reject"
senders = ["spam.example", ".spam.example", '/^[0-9]+@(aol|msn)\.example$/', "junk@"]
reply = "553 5.7.1 We want no mail from you"
[[rule]]
action = "reject"
clients = ["203.0.113.66", "203.0.113.128/25"]
[[rule]]
name = "gone"
action = "unknown"
recipients = ["hanako@example.com"]
for = "strangers"
[[rule]]
name = "no-shop"
action = "reject"
for = "users"
recipients = ["shop.example"]
reply = "No orders from here"
[[rule]]
name = "dyn"
action = "mark"
helo = ["*.dyn.example.net", "/^[0-9]/"]
[[rule]]
name = "watch"
action = "log"
senders = ["<>"]
[[rule]]
name = "idle"
action = "off"
senders = ["*"]
[[rule]]
name = "later"
action = "reject"
clients = ["203.0.113.10"]
recipients = ["taro@example.com"]
reply = "450 4.7.1 Come again"
`, nil)
	decide(t, p, []question{
		{"203.0.113.9 h a@spam.example taro@example.com", "rule.spam: 553 5.7.1 We want no mail from you"},
		{"203.0.113.9 h a@sub.spam.example taro@example.com", "rule.spam: 553 5.7.1 We want no mail from you"},
		{"203.0.113.9 h 123@AOL.example taro@example.com", "rule.spam: 553 5.7.1 We want no mail from you"},
		{"203.0.113.9 h joe@aol.example taro@example.com", "ok recipient.local"},
		{"203.0.113.9 h junk@any.example taro@example.com", "rule.spam: 553 5.7.1 We want no mail from you"},
		{"203.0.113.9 h friend@spam.example taro@example.com", "ok recipient.local"},
		{"203.0.113.9 h friend@spam.example x@example.net", denied}, // no rule opens relaying
		{"203.0.113.66 h a@x.example taro@example.com", "rule.rule-3: 550 5.7.1 Refused by a rule of this server (rule-3)"},
		{"203.0.113.200 h a@x.example taro@example.com", "rule.rule-3: 550 5.7.1 Refused by a rule of this server (rule-3)"},
		{"203.0.113.9 h a@x.example hanako@example.com", "rule.gone: 550 5.1.1 <hanako@example.com>: no such user here"},
		{"203.0.113.9 h a@x.example nobody@example.com", "recipient.local: 550 5.1.1 <nobody@example.com>: no such user here"},
		{"198.51.100.7 h a@x.example hanako@example.com", "ok recipient.local"},
		{"203.0.113.9 h taro@example.com hanako@example.com taro@example.com", "ok recipient.local"},
		{"203.0.113.9 h taro@example.com x@shop.example taro@example.com", "rule.no-shop: 550 5.7.1 No orders from here"},
		{"203.0.113.9 h taro@example.com x@example.net taro@example.com", "ok user.authenticated"},
		{"203.0.113.9 pc1.dyn.example.net a@x.example taro@example.com", "ok recipient.local, marked rule.dyn"},
		{"203.0.113.9 1and1.example a@x.example taro@example.com", "ok recipient.local, marked rule.dyn"},
		{"203.0.113.9 dyn.example.net a@x.example taro@example.com", "ok recipient.local"},
		{"203.0.113.10 h a@x.example taro@example.com", "rule.later: 450 4.7.1 Come again"},
		{"203.0.113.10 h a@x.example sales@example.com", "ok recipient.local"},
	})
	d := ask(t, p, "203.0.113.9 h <> taro@example.com")
	want := Trace{Rule: "rule.watch", Matched: true, Why: "sender <> matches <>", Action: config.LogOnly}
	if i := len(d.Rules); d.Verdict != Accept || !cmp.Equal(findTrace(d, "rule.watch"), want) {
		t.Errorf("%d rules, %+v", i, d.Rules)
	}
	if d := ask(t, p, "203.0.113.10 h a@x.example taro@example.com"); d.Verdict != Defer {
		t.Errorf("450 is %s", d.Verdict)
	}
	if d := ask(t, p, "203.0.113.9 h friend@spam.example taro@example.com"); !d.Allowed || findTrace(d, "rule.spam").Rule != "" {
		t.Errorf("allowed %v, %+v", d.Allowed, d.Rules)
	}
}

func findTrace(d Decision, rule string) Trace {
	for _, t := range d.Rules {
		if t.Rule == rule {
			return t
		}
	}
	return Trace{}
}

func TestHeaderRules(t *testing.T) {
	p, _ := ruled(t, `
[checks]
message_id = "reject"
[[rule]]
name = "lists"
action = "allow"
headers = ["List-Id: *example.org*"]
[[rule]]
name = "friend"
action = "reject"
headers = ["To: friend@public.example", "To: friend"]
[[rule]]
name = "lottery"
action = "mark"
recipients = ["taro@example.com"]
headers = ["Subject: /lottery|宝くじ/"]
`, nil)
	if !p.NeedsHeader() {
		t.Error("no header wanted")
	}
	const id = "Message-ID: <1@x.example>"
	for _, tt := range []struct {
		header, user string
		want         string
	}{
		{id, "", "ok "},
		{"message-id:  <1@x.example> ", "", "ok "},
		{"Message-ID: 1@x.example", "", "check.message_id: 550 5.6.0 Message-ID is missing or malformed"},
		{"Message-ID: <1 2@x.example>", "", "check.message_id: 550 5.6.0 Message-ID is missing or malformed"},
		{"Message-ID: <1>", "", "check.message_id: 550 5.6.0 Message-ID is missing or malformed"},
		{"Subject: x", "", "check.message_id: 550 5.6.0 Message-ID is missing or malformed"},
		{"Subject: x", "taro@example.com", "ok "},
		{id + "|TO: Friend@Public.example", "", "rule.friend: 550 5.7.1 Refused by a rule of this server (friend)"},
		{id + "|To: friend", "taro@example.com", "rule.friend: 550 5.7.1 Refused by a rule of this server (friend)"},
		{id + "|To: a friend of mine", "", "ok "},
		{id + "|Subject: You won the LOTTERY", "", "ok , marked rule.lottery"},
		{id + "|Subject: 宝くじ", "", "ok , marked rule.lottery"},
		{"List-Id: <l.example.org>|To: friend", "", "ok "},
	} {
		var fields []Field
		for line := range strings.SplitSeq(tt.header, "|") {
			name, value, _ := strings.Cut(line, ":")
			fields = append(fields, Field{name, strings.TrimSpace(value)})
		}
		r := Request{Client: netip.MustParseAddr("203.0.113.9"), Listener: "smtp", HELO: "h", User: tt.user}
		if got := verdict(p.Header(r, []address.Address{addr(t, "hanako@example.com"), addr(t, "taro@example.com")}, false, fields)); got != tt.want {
			t.Errorf("%s by %q: %s, want %s", tt.header, tt.user, got, tt.want)
		}
		if got := verdict(p.Header(r, nil, true, fields)); got != "ok " {
			t.Errorf("%s, spared: %s", tt.header, got)
		}
	}
	if d := p.Header(Request{}, []address.Address{addr(t, "hanako@example.com")}, false, []Field{{"Subject", "lottery"}, {"Message-ID", "<a@b>"}}); len(d.Marks) != 0 {
		t.Errorf("a rule for taro holds for hanako: %+v", d)
	}
}

func TestChecks(t *testing.T) {
	all := func(action string) string {
		s := "[checks]\n"
		for _, c := range (config.Checks{}).Each() {
			s += c.Name + " = \"" + action + "\"\n"
		}
		return s + "[relay]\nnetworks = [\"198.51.100.0/24\"]\n"
	}
	records := map[string]string{
		"MX x.example": "mx.x.example.", "A a-only.example": "192.0.2.9", "MX null.example": ".",
		"MX broken.example": "servfail", "MX half.example": "", "A half.example": "servfail",
	}
	p, z := ruled(t, all("reject"), records)
	const to = " taro@example.com"
	decide(t, p, []question{
		{"203.0.113.9 mx.x.example a@x.example" + to, "ok recipient.local"},
		{"203.0.113.9 [203.0.113.9] a@a-only.example" + to, "ok recipient.local"},
		{"203.0.113.9 mx.x.example <>" + to, "ok recipient.local"},
		{"203.0.113.9 bad_name.example a@x.example" + to, "check.helo_syntax: 550 5.7.1 HELO name <bad_name.example> is neither a host name nor an address literal"},
		{"203.0.113.9 [1.2.3] a@x.example" + to, "check.helo_syntax: 550 5.7.1 HELO name <[1.2.3]> is neither a host name nor an address literal"},
		{"203.0.113.9 203.0.113.9 a@x.example" + to, "check.helo_syntax: 550 5.7.1 HELO name <203.0.113.9> is neither a host name nor an address literal"},
		{"203.0.113.9 pc a@x.example" + to, "check.helo_fqdn: 550 5.7.1 HELO name <pc> is not a full host name such as mail.example.com"},
		{"203.0.113.9 MAIL.example.com a@x.example" + to, "check.helo_own: 550 5.7.1 HELO name <MAIL.example.com> is this server's own, not yours"},
		{"203.0.113.9 example.com a@x.example" + to, "check.helo_own: 550 5.7.1 HELO name <example.com> is this server's own, not yours"},
		{"127.0.0.1 mail.example.com a@x.example" + to, "ok recipient.local"},
		{"203.0.113.9 mx.x.example a@localdomain" + to, "check.sender_fqdn: 550 5.1.7 Sender domain localdomain is not a full name: nobody could answer"},
		{"203.0.113.9 mx.x.example a@localhost" + to, "check.sender_own: 550 5.7.1 Sender <a@localhost> is of this server: log in to send with it"},
		{"203.0.113.9 mx.x.example hanako@example.com" + to, "check.sender_own: 550 5.7.1 Sender <hanako@example.com> is of this server: log in to send with it"},
		{"203.0.113.9 mx.x.example a@nowhere.example" + to, "check.sender_dns: 550 5.1.8 Sender domain nowhere.example does not exist"},
		{"203.0.113.9 mx.x.example a@null.example" + to, "check.sender_dns: 550 5.7.27 Sender domain null.example takes no mail (null MX)"},
		{"203.0.113.9 mx.x.example a@broken.example" + to, "check.sender_dns: 451 4.4.3 Sender domain broken.example cannot be looked up at present; try again later"},
		{"203.0.113.9 mx.x.example a@half.example" + to, "check.sender_dns: 451 4.4.3 Sender domain half.example cannot be looked up at present; try again later"},
		{"203.0.113.9 mx.x.example a@[203.0.113.9]" + to, "ok recipient.local"},
		// Those who are known, and those who must be reached, are not checked.
		{"198.51.100.7 pc a@nowhere.example" + to, "ok recipient.local"},
		{"203.0.113.9 pc taro@example.com" + to + " taro@example.com", "ok recipient.local"},
		{"203.0.113.9 pc a@nowhere.example postmaster@example.com", "ok recipient.local"},
		{"203.0.113.9 pc a@nowhere.example Postmaster", "ok recipient.local"},
		{"203.0.113.9 pc a@nowhere.example x@example.net", denied},
	})
	if n := z.asked["MX x.example."]; n != 1 {
		t.Errorf("the same was asked %d times", n)
	}
	p, _ = ruled(t, all("mark"), records)
	decide(t, p, []question{
		{"203.0.113.9 mx.x.example a@nowhere.example" + to, "ok recipient.local, marked check.sender_dns"},
		{"203.0.113.9 pc a@localdomain" + to, "ok recipient.local, marked check.helo_fqdn, marked check.sender_fqdn, marked check.sender_dns"},
	})
	p, _ = ruled(t, all("log"), records)
	decide(t, p, []question{{"203.0.113.9 pc a@null.example" + to, "ok recipient.local"}})
	p, z = ruled(t, all("off"), records)
	decide(t, p, []question{{"203.0.113.9 pc a@null.example" + to, "ok recipient.local"}})
	if len(z.asked) != 0 || p.NeedsHeader() {
		t.Errorf("checks that are off ask: %v", z.asked)
	}
	// The defaults ask no DNS and refuse nobody.
	p, z = ruled(t, "", records)
	decide(t, p, []question{{"203.0.113.9 example.com a@nowhere" + to, "ok recipient.local"}})
	if len(z.asked) != 0 {
		t.Errorf("the defaults ask: %v", z.asked)
	}
}

// A resolver that never answers holds nobody up for ever.
func TestDNSTimeout(t *testing.T) {
	p, _ := ruled(t, "[checks]\nsender_dns = \"reject\"\n", map[string]string{"MX slow.example": "silence"})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := Request{Sender: addr(t, "a@slow.example")}
		if _, d := senderDNS(p, &r); d == nil || d.Code != 451 || time.Since(start) != dnsTimeout {
			t.Errorf("%+v after %s", d, time.Since(start))
		}
	})
}

func TestDNSBL(t *testing.T) {
	const settings = `
[[dnsbl]]
zone = "bl.example"
[[dnsbl]]
zone = "marks.example"
codes = ["127.0.0.4-127.0.0.7"]
action = "mark"
`
	records := map[string]string{
		"A 2.0.0.127.bl.example": "127.0.0.2", "A 9.113.0.203.bl.example": "127.0.0.3", "A 10.113.0.203.bl.example": "127.0.1.1",
		"A 12.113.0.203.bl.example":    "servfail",
		"A 2.0.0.127.marks.example":    "127.0.0.2",
		"A 11.113.0.203.marks.example": "127.0.0.6", "A 9.113.0.203.marks.example": "127.0.0.6", "A 10.113.0.203.marks.example": "127.0.0.2",
		"A 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example": "127.0.0.2",
	}
	p, _ := ruled(t, settings, records)
	const rest = " mx.x.example a@x.example taro@example.com"
	decide(t, p, []question{
		{"203.0.113.9" + rest, "dnsbl.bl.example: 554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using bl.example"},
		{"::ffff:203.0.113.9" + rest, "dnsbl.bl.example: 554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using bl.example"},
		{"2001:db8::1" + rest, "dnsbl.bl.example: 554 5.7.1 Service unavailable; Client host [2001:db8::1] blocked using bl.example"},
		{"203.0.113.10" + rest, "ok recipient.local"},
		{"203.0.113.11" + rest, "ok recipient.local, marked dnsbl.marks.example"},
		{"203.0.113.12" + rest, "ok recipient.local"},
		{"203.0.113.13" + rest, "ok recipient.local"},
		{"203.0.113.9" + rest + " taro@example.com", "sender.own: 553 5.7.1 <a@x.example> is not an address of taro@example.com, who is logged in"},
		{"203.0.113.9 mx.x.example a@x.example postmaster@example.com", "ok recipient.local"},
	})
	if got := findTrace(ask(t, p, "203.0.113.10"+rest), "dnsbl.bl.example").Why; got != "answered 127.0.1.1 about 203.0.113.10, which is none of its codes" {
		t.Error(got)
	}
}

// A list that is broken blocks nobody, and is asked again later.
func TestBrokenLists(t *testing.T) {
	for name, tt := range map[string]struct {
		records map[string]string
		why     string
	}{
		"gone":             {map[string]string{}, "its test address 127.0.0.2 is not listed: is it a list of addresses, and is it still there?"},
		"lists everybody":  {map[string]string{"A 2.0.0.127.bl.example": "127.0.0.2", "A 1.0.0.127.bl.example": "127.0.0.2"}, "it lists 127.0.0.1, which no list may: it seems to list everybody"},
		"refuses resolver": {map[string]string{"A 2.0.0.127.bl.example": "127.255.255.254"}, "it answers 127.255.255.254: it does not serve this resolver; use one of your own ([dns] servers)"},
		"servfail":         {map[string]string{"A 2.0.0.127.bl.example": "servfail"}, "no answer about its test address 127.0.0.2: lookup : server misbehaving"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.records["A 9.113.0.203.bl.example"] = "127.0.0.2"
			p, z := ruled(t, "[[dnsbl]]\nzone = \"bl.example\"\n", tt.records)
			q := question{"203.0.113.9 mx.x.example a@x.example taro@example.com", "ok recipient.local"}
			decide(t, p, []question{q, q})
			if got := findTrace(ask(t, p, q.ask), "dnsbl.bl.example").Why; got != "is not asked, because it does not work: "+tt.why {
				t.Error(got)
			}
			if n := z.asked["A 9.113.0.203.bl.example."]; n != 0 {
				t.Errorf("asked %d times", n)
			}
			// Repaired: believed at the next try.
			z.records = map[string]string{"A 2.0.0.127.bl.example": "127.0.0.2", "A 9.113.0.203.bl.example": "127.0.0.2"}
			p.lists[0].tried = time.Now().Add(-brokenFor)
			p.dns = newDNSCache(z)
			decide(t, p, []question{{q.ask, "dnsbl.bl.example: 554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using bl.example"}})
		})
	}
	// Refused in between.
	p, z := ruled(t, "[[dnsbl]]\nzone = \"bl.example\"\n", map[string]string{"A 2.0.0.127.bl.example": "127.0.0.2", "A 9.113.0.203.bl.example": "127.255.255.255"})
	for range 2 {
		if d := ask(t, p, "203.0.113.9 mx.x.example a@x.example taro@example.com"); d.Verdict != Accept {
			t.Error(verdict(d))
		}
	}
	if !strings.HasPrefix(p.lists[0].broken, "it answers 127.255.255.255") || z.asked["A 9.113.0.203.bl.example."] != 1 {
		t.Errorf("%q, %v", p.lists[0].broken, z.asked)
	}
}

func TestSendAs(t *testing.T) {
	p, _ := ruled(t, `
[[auth.send_as]]
users = ["taro@example.com"]
senders = ["info@example.net", "shop.example"]
[[auth.send_as]]
users = ["hanako@"]
senders = ["*"]
`, nil)
	refused := func(who, user string) string {
		return "sender.own: 553 5.7.1 <" + who + "> is not an address of " + user + ", who is logged in"
	}
	decide(t, p, []question{
		{"203.0.113.9 h info@example.net x@example.org taro@example.com", "ok user.authenticated"},
		{"203.0.113.9 h any@shop.example x@example.org taro@example.com", "ok user.authenticated"},
		{"203.0.113.9 h sales@example.com x@example.org taro@example.com", "ok user.authenticated"},
		{"203.0.113.9 h ceo@example.net x@example.org taro@example.com", refused("ceo@example.net", "taro@example.com")},
		{"203.0.113.9 h hanako@example.com x@example.org taro@example.com", refused("hanako@example.com", "taro@example.com")},
		{"203.0.113.9 h taro@example.com x@example.org hanako@example.com", "ok user.authenticated"},
		{"203.0.113.9 h nobody@example.com x@example.org taro@example.com", refused("nobody@example.com", "taro@example.com")},
	})
}

// rooms says how much each mailbox can still take.
type rooms map[string]int64

func (r rooms) Room(a account.Account) (int64, bool, error) {
	n, limited := r[a.Name]
	if n == -1 {
		return 0, true, errors.New("disk")
	}
	return n, limited, nil
}
func (r rooms) Limit(account.Account) int64 { return 1000 }

func TestFullMailbox(t *testing.T) {
	p, _ := ruled(t, "", nil)
	if err := p.Accounts.(*account.Files).SetForward("both", "example.com", []string{"taro@example.com", "hanako@example.com"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		to    string
		size  int64
		rooms rooms
		want  string
	}{
		{"taro", 0, rooms{"taro": 0}, "mailbox.full: 452 4.2.2 Mailbox of <taro@example.com> is full; try again later"},
		{"taro", 0, rooms{"taro": -5}, "mailbox.full: 452 4.2.2 Mailbox of <taro@example.com> is full; try again later"},
		{"taro", 0, rooms{"taro": 1}, "ok recipient.local"},
		{"taro", 100, rooms{"taro": 100}, "ok recipient.local"},
		{"taro", 101, rooms{"taro": 100}, "mailbox.full: 452 4.2.2 Mailbox of <taro@example.com> is full; try again later"},
		{"taro", 1001, rooms{"taro": 100}, "mailbox.full: 552 5.2.2 Message is larger than the mailbox of <taro@example.com> may become"},
		{"taro", 1 << 40, rooms{}, "ok recipient.local"},
		{"taro", 1 << 40, rooms{"taro": -1}, "ok recipient.local"},
		{"both", 0, rooms{"taro": 0}, "ok recipient.local"},
		{"both", 0, rooms{"taro": 0, "hanako": 0}, "mailbox.full: 452 4.2.2 Mailbox of <both@example.com> is full; try again later"},
	} {
		p.Rooms = tt.rooms
		d := p.Decide(Request{Client: netip.MustParseAddr("203.0.113.9"), Listener: "smtp", HELO: "h", Sender: addr(t, "a@x.example"), Recipient: addr(t, tt.to+"@example.com"), Size: tt.size})
		if got := verdict(d); got != tt.want {
			t.Errorf("%s, %d octets, %v: %s, want %s", tt.to, tt.size, tt.rooms, got, tt.want)
		}
	}
}
