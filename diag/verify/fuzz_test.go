package verify

import (
	"net"
	"strings"
	"testing"

	"mailsrv/codes"
	"mailsrv/diag/explain"
)

// Whatever is pasted, the plan names a bounded number of contacts, none of them
// with a line end or a blank in what goes over the wire, and contacts nobody.
func FuzzPlan(f *testing.F) {
	f.Add([]byte(refused), "")
	f.Add([]byte(bounce("nobody@example.net", "a@example.org", "5.1.1", "554 5.7.1 [203.0.113.5] blocked using zen.spamhaus.org")), "")
	f.Add([]byte("0x800CCC79"), "::1")
	f.Add([]byte("Server: 'a b\r\nQUIT', Protocol: SMTP, Port: 25, Error Number: 0x800CCC79, Recipient: <a@b>\r\nDATA"), "x")
	f.Fuzz(func(t *testing.T, raw []byte, host string) {
		if len(raw) > 1<<14 || host != "" && !isHost(host) { // --server is checked before
			return
		}
		v := New(Options{Server: Server{Host: host}, Resolvers: []string{"192.0.2.53:53"}})
		r := explain.Explain(raw, codes.English)
		p := v.Plan(&r)
		if len(r.Contacts) > 40 {
			t.Fatalf("%d contacts", len(r.Contacts))
		}
		for _, a := range p.asks {
			if strings.ContainsAny(a.from+a.to+a.user, "\r\n\x00") {
				t.Fatalf("%+v", a)
			}
			if _, _, err := net.SplitHostPort(a.hostPort()); err != nil || a.port < 1 || a.port > 65535 || a.host != host && !isHost(a.host) {
				t.Fatalf("%+v: %v", a, err)
			}
		}
		if len(v.talks)+len(v.domains)+len(v.answers) > 0 {
			t.Fatal("somebody was contacted")
		}
	})
}
