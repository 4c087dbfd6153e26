package policy

import (
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/server/account"
	"mailsrv/server/address"
)

// newPolicy has the accounts taro@example.com (also postmaster and sales),
// hanako@example.jp, taro@[192.0.2.1], a dead forward and a damaged account.
func newPolicy(t *testing.T) *Policy {
	t.Helper()
	domains := []string{"example.com", "example.jp", "[192.0.2.1]", "[ipv6:2001:db8::1]"}
	files := account.Open(t.TempDir(), domains)
	for _, a := range [][2]string{{"taro", "example.com"}, {"hanako", "example.jp"}, {"taro", "[192.0.2.1]"}, {"x", "example.com"}} {
		if _, err := files.Add(a[0], a[1], "correct horse battery"); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"postmaster": "taro@example.com", "sales": "taro@example.com", "dead": "x@example.com"} {
		if err := files.SetForward(name, "example.com", []string{target}); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Remove("x", "example.com"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.File("damaged", "example.com"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Policy{Relay: true, Accounts: files, Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
}

func addr(t *testing.T, s string) address.Address {
	t.Helper()
	a, _, err := address.ParsePath("<" + s + ">")
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func TestDecide(t *testing.T) {
	p := newPolicy(t)
	const (
		stranger = "203.0.113.9"
		denied   = "550 5.7.1 User not local. Authentication required for relay"
		noUser   = ": no such user here"
	)
	for _, tt := range []struct {
		name                   string
		listener, client, user string
		from, to               string
		verdict                Verdict
		rule, reply            string
	}{
		{"mail from outside", "smtp", stranger, "", "a@example.net", "taro@example.com", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"letter case", "smtp", stranger, "", "a@example.net", "TARO@EXAMPLE.COM", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"bounce", "smtp", stranger, "", "", "taro@example.com", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"forward", "smtp", stranger, "", "", "sales@example.com", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"address literal", "smtp", stranger, "", "", "taro@[192.0.2.1]", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"postmaster without domain", "smtp", stranger, "", "", "Postmaster", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"other name without domain", "smtp", stranger, "", "", "taro", Reject, "recipient.local", "550 5.1.3 Recipient address needs a domain: <taro@example.com>"},
		{"unknown user", "smtp", stranger, "", "", "nobody@example.com", Reject, "recipient.local", "550 5.1.1 <nobody@example.com>" + noUser},
		{"account of another domain", "smtp", stranger, "", "", "hanako@example.com", Reject, "recipient.local", "550 5.1.1 <hanako@example.com>" + noUser},
		{"unknown user in a literal", "smtp", stranger, "", "", "nobody@[IPv6:2001:DB8:0::1]", Reject, "recipient.local", "550 5.1.1 <nobody@[IPv6:2001:DB8:0::1]>" + noUser},
		{"dead forward", "smtp", stranger, "", "", "dead@example.com", Defer, "recipient.local", "451 4.3.5 Mail for this address is forwarded to nowhere; the administrator must repair it"},
		{"damaged account", "smtp", stranger, "", "", "damaged@example.com", Defer, "recipient.local", "451 4.3.0 Account data cannot be read; try again later"},

		{"relay for a stranger", "smtp", stranger, "", "a@example.net", "victim@example.org", Reject, "relay.denied", denied},
		{"local sender", "smtp", stranger, "", "taro@example.com", "victim@example.org", Reject, "relay.denied", denied},
		{"null sender", "smtp", stranger, "", "", "victim@example.org", Reject, "relay.denied", denied},
		{"foreign literal", "smtp", stranger, "", "", "victim@[192.0.2.2]", Reject, "relay.denied", denied},
		{"subdomain", "smtp", stranger, "", "", "victim@sub.example.com", Reject, "relay.denied", denied},
		{"percent hack", "smtp", stranger, "", "", "victim%example.org@example.com", Reject, "recipient.local", "550 5.1.1 <victim%example.org@example.com>" + noUser},
		{"bang path", "smtp", stranger, "", "", "example.org!victim@example.com", Reject, "recipient.local", "550 5.1.1 <example.org!victim@example.com>" + noUser},
		{"quoted address", "smtp", stranger, "", "", `"victim@example.org"@example.com`, Reject, "recipient.local", `550 5.1.1 <"victim@example.org"@example.com>` + noUser},
		{"source route through here", "smtp", stranger, "", "", "@example.com:victim@example.org", Reject, "relay.denied", denied},
		{"source route to here", "smtp", stranger, "", "", "@example.org:taro@example.com", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"trusted network", "smtp", "198.51.100.7", "", "a@example.net", "victim@example.org", Accept, "network.trusted", "250 2.1.5 Recipient ok"},
		{"trusted network, mapped", "smtp", "::ffff:198.51.100.7", "", "a@example.net", "victim@example.org", Accept, "network.trusted", "250 2.1.5 Recipient ok"},
		{"sender without domain", "smtp", stranger, "", "taro", "taro@example.com", Reject, "sender.domain", "553 5.1.7 Sender address needs a domain: <user@example.com>"},

		{"submission without login", "submission", stranger, "", "taro@example.com", "taro@example.com", Reject, "submission.login", "530 5.7.0 Authentication required"},
		{"submissions without login", "submissions", "198.51.100.7", "", "a@b.example", "taro@example.com", Reject, "submission.login", "530 5.7.0 Authentication required"},
		{"user to a local address", "submission", stranger, "taro@example.com", "taro@example.com", "hanako@example.jp", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"user as a role", "submission", stranger, "taro@example.com", "Sales@Example.com", "hanako@example.jp", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"user without domain", "submission", stranger, "taro@example.com", "taro", "hanako@example.jp", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"recipient without domain", "submission", stranger, "taro@example.com", "taro", "taro", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"user of the second domain without domain", "submission", stranger, "hanako@example.jp", "hanako", "hanako@example.jp", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"recipient without domain in the second domain", "submission", stranger, "hanako@example.jp", "hanako@example.jp", "hanako", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"postmaster of the user's domain", "submission", stranger, "hanako@example.jp", "", "Postmaster", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"user's receipt", "submission", stranger, "taro@example.com", "", "hanako@example.jp", Accept, "recipient.local", "250 2.1.5 Recipient ok"},
		{"user to elsewhere", "submission", stranger, "taro@example.com", "taro@example.com", "x@example.org", Accept, "user.authenticated", "250 2.1.5 Recipient ok"},
		{"user to a foreign literal", "submission", stranger, "taro@example.com", "taro", "x@[192.0.2.2]", Accept, "user.authenticated", "250 2.1.5 Recipient ok"},
		{"user's receipt to elsewhere", "submissions", stranger, "taro@example.com", "", "x@example.org", Accept, "user.authenticated", "250 2.1.5 Recipient ok"},
		{"user to an unknown local address", "submission", stranger, "taro@example.com", "taro", "nobody@example.com", Reject, "recipient.local", "550 5.1.1 <nobody@example.com>" + noUser},
		{"user to elsewhere as somebody else", "submission", stranger, "taro@example.com", "hanako@example.jp", "x@example.org", Reject, "sender.own", "553 5.7.1 <hanako@example.jp> is not an address of taro@example.com, who is logged in"},
		{"user as somebody else", "submission", stranger, "taro@example.com", "hanako@example.jp", "taro@example.com", Reject, "sender.own", "553 5.7.1 <hanako@example.jp> is not an address of taro@example.com, who is logged in"},
		{"user as a stranger", "smtp", stranger, "taro@example.com", "ceo@example.net", "taro@example.com", Reject, "sender.own", "553 5.7.1 <ceo@example.net> is not an address of taro@example.com, who is logged in"},
		{"the same name elsewhere", "smtp", stranger, "taro@example.com", "taro@[192.0.2.1]", "taro@example.com", Reject, "sender.own", "553 5.7.1 <taro@[192.0.2.1]> is not an address of taro@example.com, who is logged in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := p.Decide(Request{Client: netip.MustParseAddr(tt.client), Listener: tt.listener, HELO: "client.example", Sender: addr(t, tt.from), Recipient: addr(t, tt.to), User: tt.user})
			if d.Verdict != tt.verdict || d.Rule != tt.rule || d.Reply() != tt.reply {
				t.Errorf("%s by %s: %s\nwant %s by %s: %s", d.Verdict, d.Rule, d.Reply(), tt.verdict, tt.rule, tt.reply)
			}
			if len(d.Rules) == 0 {
				t.Error("no explanation")
			}
			out := tt.rule == "user.authenticated" || tt.rule == "network.trusted"
			if d.Out != out || (len(d.Boxes) > 0) != (d.Verdict == Accept && !out) {
				t.Errorf("mailboxes %v, out %v", d.Boxes, d.Out)
			}
		})
	}
}

func TestReceiveOnly(t *testing.T) {
	p := newPolicy(t)
	p.Relay = false
	d := p.Decide(Request{Client: netip.MustParseAddr("203.0.113.9"), Listener: "submission", User: "taro@example.com", Sender: addr(t, "taro@example.com"), Recipient: addr(t, "x@example.org")})
	if d.Rule != "relay.off" || d.Reply() != "550 5.7.1 This server only receives mail (relay.allow is false)" {
		t.Errorf("%s: %s", d.Rule, d.Reply())
	}
}

func TestExplanation(t *testing.T) {
	d := newPolicy(t).Decide(Request{Client: netip.MustParseAddr("203.0.113.9"), Listener: "smtp", Sender: addr(t, "a@example.net"), Recipient: addr(t, "victim@example.org")})
	want := []Trace{
		{Rule: "submission.login", Why: "listener smtp takes mail from other servers too"},
		{Rule: "sender.domain", Why: "the sender has a domain"},
		{Rule: "sender.own", Why: "not logged in"},
		{Rule: "recipient.local", Why: "example.org is not one of the local domains: example.com, example.jp, [192.0.2.1], [ipv6:2001:db8::1]"},
		{Rule: "user.authenticated", Why: "not logged in"},
		{Rule: "network.trusted", Why: "203.0.113.9 is not in relay.networks"},
		{Rule: "pop.before_smtp", Why: "relay.pop_before_smtp is off"},
		{Rule: "relay.backup_mx", Why: "relay.backup_mx is empty"},
		{Rule: "relay.client", Why: "there is no [[relay.client]]"},
		{Rule: "relay.denied", Matched: true, Why: "neither the recipient is local nor may the client relay"},
	}
	if diff := cmp.Diff(want, d.Rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
