package verify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailsrv/codes"
	"mailsrv/diag/explain"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/pop3/pop3test"
	"mailsrv/probes/port"
	"mailsrv/probes/smtp/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is the DNS of the tests: a mail host of example.net, and the client
// 203.0.113.5 that was refused.
const world = `
	example.net. MX 10 mx.example.net.
	mx.example.net. A 192.0.2.1
	null.example. MX 0 .
	example.org. MX 10 mx.example.net.
	example.org. TXT "v=spf1 mx -all"
	_dmarc.example.org. TXT "v=DMARC1; p=reject; rua=mailto:a@example.org"
	noauth.example. MX 10 mx.example.net.
	5.113.0.203.zen.spamhaus.org. A 127.0.0.2
	6.113.0.203.in-addr.arpa. PTR mail.example.org.
	7.113.0.203.zen.spamhaus.org. A 127.255.255.254
`

func bounce(to, from, status, words string) string {
	return "From: MAILER-DAEMON@mail.example.org\r\nTo: <" + from + ">\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n" +
		"Reporting-MTA: dns; mail.example.org\r\n\r\nFinal-Recipient: rfc822; " + to + "\r\nAction: failed\r\nStatus: " + status +
		"\r\nDiagnostic-Code: smtp; " + words + "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: <" + from + ">\r\nSubject: x\r\n\r\n--b--\r\n"
}

// checked explains and checks a text.
func checked(t *testing.T, v *Verifier, text string) *explain.Result {
	t.Helper()
	r := explain.Explain([]byte(text), codes.English)
	v.Plan(&r).Run(t.Context())
	for _, lang := range []codes.Lang{codes.Japanese, codes.English} {
		if err := Localize(&r, lang); err != nil {
			t.Errorf("%s: %v", lang, err)
		}
	}
	return &r
}

// short is a result in few words: "cause verdict ...; id ...".
func short(r *explain.Result) string {
	var b strings.Builder
	for _, d := range r.Diagnosis {
		fmt.Fprintf(&b, "%s %s; ", d.Cause, d.Verdict)
	}
	for _, f := range r.Findings {
		b.WriteString(f.ID + " ")
	}
	return strings.TrimSpace(b.String())
}

func lab(t *testing.T, dialMap string) *Verifier {
	t.Helper()
	m, err := dial.ParseMap(strings.NewReader(dialMap))
	if err != nil {
		t.Fatal(err)
	}
	addr := dnstest.New(t, world).Addr
	v := New(Options{Resolver: addr, Resolvers: []string{addr}, Map: m, Timeout: 3 * time.Second})
	v.sockets = func(context.Context) ([]port.Holder, error) { return nil, nil }
	return v
}

// What a delivery report says is checked as far as that can be seen from here:
// through DNS, and at the recipient's mail host up to RCPT.
func TestBounces(t *testing.T) {
	refuses := smtptest.New(t, smtptest.Config{Script: "RCPT TO:<nobody@ => 550 5.1.1 User unknown"})
	for _, tt := range []struct{ name, mail, dialMap, want string }{
		{"no such user, still so", bounce("nobody@example.net", "a@example.org", "5.1.1", "550 5.1.1 User unknown"), "192.0.2.1:25 " + refuses.Addr,
			"user-unknown confirmed; probe.rcpt mx.ok"},
		{"the user is there now", bounce("taro@example.net", "a@example.org", "5.1.1", "550 5.1.1 User unknown"), "192.0.2.1:25 " + refuses.Addr,
			"user-unknown rejected; mx.ok probe.ok"},
		{"port 25 is blocked here", bounce("nobody@example.net", "a@example.org", "5.1.1", "550 5.1.1 User unknown"), "192.0.2.1:25 drop",
			"user-unknown undetermined; explain.not_from_here mx.ok"},
		{"the domain takes no mail", bounce("nobody@null.example", "a@example.org", "5.1.1", "550 5.1.1 User unknown"), "",
			"user-unknown confirmed; mx.null"},
		{"listed", bounce("b@example.net", "a@example.org", "5.7.1", "554 5.7.1 Service unavailable; Client host [203.0.113.5] blocked using zen.spamhaus.org"), "",
			"blocklisted confirmed; dnsbl.ip_listed explain.ptr_missing"},
		{"not listed any more", bounce("b@example.net", "a@example.org", "5.7.1", "554 5.7.1 Service unavailable; Client host [203.0.113.6] blocked using zen.spamhaus.org"), "",
			"blocklisted rejected; explain.ptr explain.not_listed"},
		{"the list does not answer us", bounce("b@example.net", "a@example.org", "5.7.1", "554 5.7.1 Service unavailable; Client host [203.0.113.7] blocked using zen.spamhaus.org"), "",
			"blocklisted undetermined; explain.ptr_missing explain.only_they dnsbl.query_blocked"},
		{"no reverse name", bounce("b@example.net", "a@example.org", "5.7.25", "550 5.7.25 Client host rejected: the address 203.0.113.5 has no reverse DNS"), "",
			"ptr-missing confirmed; explain.ptr_missing"},
		{"it has one now", bounce("b@example.net", "a@example.org", "5.7.25", "550 5.7.25 Client host rejected: the address 203.0.113.6 has no reverse DNS"), "",
			"ptr-missing rejected; explain.ptr"},
		{"no SPF", bounce("b@example.net", "a@noauth.example", "5.7.26", "550 5.7.26 Unauthenticated sender: SPF and DKIM did not pass"), "",
			"spf-dkim-dmarc confirmed; dmarc.missing spf.missing"},
		{"SPF is right", bounce("b@example.net", "a@example.org", "5.7.26", "550 5.7.26 Unauthenticated sender: SPF and DKIM did not pass"), "",
			"spf-dkim-dmarc undetermined; explain.only_they spf.ok dmarc.ok"},
		{"the sender's domain does not exist", bounce("b@example.net", "a@gone.example", "5.1.8", "553 5.1.8 <a@gone.example>: Domain of sender address does not exist"), "",
			"sender-rejected confirmed; domain.nxdomain"},
		{"it exists now", bounce("b@example.net", "a@example.org", "5.1.8", "553 5.1.8 <a@example.org>: Domain of sender address does not exist"), "",
			"sender-rejected rejected; mx.ok"},
		{"a reply without its server", "550 5.1.1 <nobody@example.net>: Recipient address rejected: User unknown", "192.0.2.1:25 " + refuses.Addr,
			"user-unknown confirmed; probe.rcpt mx.ok"},
		{"a list's refusal without its server", "554 5.7.1 Service unavailable; Client host [203.0.113.5] blocked using zen.spamhaus.org", "",
			"blocklisted confirmed; dnsbl.ip_listed explain.ptr_missing"},
		{"a name without its service", "The server 'gone.example.net' could not be found. Server: 'gone.example.net', Socket Error: 11001", "",
			"dns-failure confirmed; explain.name_missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.dialMap == "" {
				tt.dialMap = "192.0.2.1:25 refuse" // listed addresses count as public
			}
			if got := short(checked(t, lab(t, tt.dialMap), tt.mail)); !strings.HasPrefix(got, strings.SplitAfter(tt.want, ";")[0]) || !sameIDs(got, tt.want) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

// Each cause of a log is about another server: what the lines name is asked, and
// refusals of strangers at the own door are not asked of anybody.
func TestLog(t *testing.T) {
	refuses := smtptest.New(t, smtptest.Config{Script: "RCPT TO:<nobody@ => 550 5.1.1 User unknown"})
	const head = "Nov 20 03:11:0"
	text := head + "1 mx postfix/smtpd[8]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n" +
		head + "2 mx postfix/smtp[9]: 4XyA: to=<nobody@example.net>, relay=mx.example.net[192.0.2.1]:25, dsn=5.1.1, status=bounced (host mx.example.net[192.0.2.1] said: 550 5.1.1 <nobody@example.net>: User unknown (in reply to RCPT TO command))\n" +
		head + "3 mx postfix/smtp[9]: 4XyB: to=<b@other.example>, relay=none, dsn=4.4.1, status=deferred (connect to mx.other.example[192.0.2.9]:25: Connection refused)\n"
	r := checked(t, lab(t, "192.0.2.1:25 "+refuses.Addr+"\n192.0.2.9:25 refuse\n"), text)
	got := map[string]string{}
	for _, d := range r.Diagnosis {
		got[d.Cause] = d.Verdict
	}
	want := map[string]string{"user-unknown": explain.Confirmed, "connect-refused": explain.Confirmed, "auth-failed": explain.Undetermined, "connect-timeout": explain.Undetermined}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s%s\n%+v", d, short(r), r.Contacts)
	}
}

// The catalogue has no id that is never said.
func TestIDsAreSaid(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") {
			code.Write(b)
		}
	}
	n := 0
	for _, id := range codes.FindingIDs() {
		if strings.HasPrefix(id, "explain.") {
			if n++; !strings.Contains(code.String(), strconv.Quote(id)) {
				t.Errorf("the code never says %s", id)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d ids", n)
	}
	for cause := range needs {
		if codes.CauseOf(cause) == nil {
			t.Errorf("there is no cause %s", cause)
		}
	}
	for _, w := range codes.CauseWords {
		if needs[w] == "" && w != "unknown" && w != "none" {
			t.Errorf("nothing says how to check %s", w)
		}
	}
}

// sameIDs compares the findings without regard to order among equals.
func sameIDs(a, b string) bool {
	ids := func(s string) []string {
		list := strings.Fields(s[strings.LastIndex(s, ";")+1:])
		slices.Sort(list)
		return list
	}
	return slices.Equal(ids(a), ids(b))
}

const refused = "The connection to the server has failed. Server: 'mx.example.net', Protocol: POP3, Port: 110, Secure(SSL): No, Socket Error: 10061, Error Number: 0x800CCC0E"

// Nothing is contacted before it was named, each server once, and not too many.
func TestPolite(t *testing.T) {
	srv := smtptest.New(t, smtptest.Config{})
	v := lab(t, "192.0.2.1:25 "+srv.Addr)
	text := "Server: 'mx.example.net', Protocol: SMTP, Port: 25, Secure(SSL): No, Socket Error: 10060, Error Number: 0x800CCC0E"
	r := explain.Explain([]byte(text), codes.English)
	plan := v.Plan(&r)
	want := []explain.Contact{{How: "smtp", Where: "mx.example.net:25", What: "none", Then: []string{"25 implicit", "587 none", "465 implicit"}}}
	if d := cmp.Diff(want, r.Contacts); d != "" {
		t.Error(d)
	}
	if len(v.talks) != 0 {
		t.Error("the plan contacts somebody")
	}
	plan.Run(t.Context())
	again := checked(t, v, text)
	if len(v.talks) != 1 || short(&r) != short(again) {
		t.Errorf("%d conversations: %s, then %s", len(v.talks), short(&r), short(again))
	}
	for i := range maxConversations + 5 {
		r := checked(t, v, strings.ReplaceAll(refused, "110", fmt.Sprint(1000+i)))
		if last := i >= maxConversations-1; last != slices.ContainsFunc(ids(r), func(id string) bool { return id == "explain.limit" }) {
			t.Errorf("server %d: %s", i, short(r))
		}
	}
}

func ids(r *explain.Result) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.ID)
	}
	return out
}

// A name that one resolver knows and another does not.
func TestResolversDiffer(t *testing.T) {
	good, bad := dnstest.New(t, world).Addr, dnstest.New(t, "!nxdomain .").Addr
	silent := dnstest.New(t, "!servfail .").Addr
	text := "The host 'mx.example.net' could not be found. Server: 'mx.example.net', Protocol: POP3, Port: 110, Secure(SSL): No, Socket Error: 11001, Error Number: 0x800CCC0D"
	for _, tt := range []struct {
		resolvers []string
		want      string
	}{
		{[]string{good, good}, "connect-refused confirmed; dns-failure rejected; probe.tcp explain.name_found"},
		{[]string{bad, good}, "dns-failure confirmed; explain.resolvers_differ"},
		{[]string{bad, bad}, "dns-failure confirmed; explain.name_missing"},
		{[]string{silent, silent}, "dns-failure confirmed; explain.name_unknown"},
	} {
		m, err := dial.ParseMap(strings.NewReader("192.0.2.1:110 refuse"))
		if err != nil {
			t.Fatal(err)
		}
		v := New(Options{Resolver: tt.resolvers[0], Resolvers: tt.resolvers, Map: m, Timeout: 3 * time.Second})
		if got := short(checked(t, v, text)); got != tt.want {
			t.Errorf("%s\nwant %s", got, tt.want)
		}
	}
}

// The whole protocol is found out, or what is missing is said.
func TestServerFlag(t *testing.T) {
	for _, tt := range []struct {
		server     Server
		text, want string
	}{
		{Server{}, "0x800CCC0E", "explain.no_target"},
		{Server{Host: "192.0.2.9", Port: 110}, "0x800CCC0E", "pop3 192.0.2.9:110"},
		{Server{Host: "192.0.2.9", Port: 2110, Protocol: "imap"}, "0x800CCC0E", "imap 192.0.2.9:2110"},
		{Server{Host: "192.0.2.9", Port: 2110}, "0x800CCC0E", "explain.no_target"},
		{Server{Host: "192.0.2.9"}, "0x800CCC92", "pop3 192.0.2.9:110"},
		{Server{Host: "192.0.2.9"}, "0x800CCC79", "submission 192.0.2.9:587"},
		{Server{Host: "pop.example.com"}, "10061", "pop3 pop.example.com:110"},
		{Server{Host: "192.0.2.9"}, refused, "pop3 mx.example.net:110"},
	} {
		v := New(Options{Server: tt.server})
		r := explain.Explain([]byte(tt.text), codes.English)
		plan := v.Plan(&r)
		got := ""
		for _, c := range r.Contacts {
			got = c.How + " " + c.Where
		}
		if got == "" && len(plan.found) > 0 {
			got = plan.found[0].ID
		}
		if got != tt.want {
			t.Errorf("%v %s: %s, want %s", tt.server, tt.text, got, tt.want)
		}
	}
}

// A refusal without a login confirms what it says, and nothing about passwords.
func TestOnlyWhatIsSaid(t *testing.T) {
	denies := smtptest.New(t, smtptest.Config{Script: "RCPT => 550 5.7.1 Relaying denied"})
	text := "The rejected e-mail address was 'b@example.net'. Server: 'mx.example.net', Protocol: SMTP, Server Response: '550 5.7.1 Relaying denied', Port: 25, Secure(SSL): No, Error Number: 0x800CCC79"
	if got, want := short(checked(t, lab(t, "192.0.2.1:25 "+denies.Addr), text)), "relay-denied confirmed; auth-required undetermined; pop-before-smtp undetermined; probe.rcpt explain.needs_login"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	tls := pop3test.Play(t, "> +OK\n< CAPA\n> -ERR\n< USER taro\n> -ERR [AUTH] Plaintext login not allowed: use SSL/TLS on port 995.\n< QUIT\n> +OK")
	text = "Account: 'taro', Server: 'mx.example.net', Protocol: POP3, Server Response: '-ERR [AUTH] Plaintext login not allowed: use SSL/TLS on port 995.', Port: 110, Secure(SSL): No, Error Number: 0x800CCC90"
	if got, want := short(checked(t, lab(t, "192.0.2.1:110 "+tls.Addr), text)), "tls-required confirmed; auth-failed undetermined; probe.auth explain.needs_login"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// A local address: who listens there decides about mail scanners.
func TestLocal(t *testing.T) {
	text := strings.ReplaceAll(strings.ReplaceAll(refused, "mx.example.net", "127.0.0.1"), "110", "59110")
	v := lab(t, "127.0.0.1:59110 refuse")
	if got, want := short(checked(t, v, text)), "antivirus-proxy confirmed; connect-refused confirmed; probe.tcp explain.port_free"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
