package deliver

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"mailsrv/server/deliver/sinktest"
)

// The way through a real name server, with everything it may say.
func TestResolver(t *testing.T) {
	var big []string
	for i := range 40 {
		big = append(big, strconv.Itoa(i+1)+" a-rather-long-name-for-a-mail-host-"+strconv.Itoa(i)+".example.net.")
	}
	records := sinktest.DNS{
		"mx.example. MX": {"20 b.example.net.", "10 a.example.net."}, "a.example.net. A": {"192.0.2.1"}, "b.example.net. A": {"192.0.2.2"}, "b.example.net. AAAA": {"2001:db8::2"},
		"alias.example. CNAME":         {"mx.example."},
		"hosta.example. MX":            {"1 hostalias.example.net."},
		"hostalias.example.net. CNAME": {"b.example.net."},
		"implicit.example. A":          {"192.0.2.3"},
		"text.example. TXT":            nil,
		"null.example. MX":             {"0 ."},
		"broken.example. MX":           {"SERVFAIL"},
		"big.example. MX":              big,
	}
	broken := sinktest.DNS{"*": {"SERVFAIL"}}
	c := New(Config{Hostname: "mail.example.com", Resolver: NewResolver([]netip.AddrPort{broken.Serve(t), records.Serve(t)})})
	for domain, want := range map[string]string{
		"mx.example":       "a.example.net 192.0.2.1 | b.example.net 192.0.2.2 b.example.net 2001:db8::2",
		"alias.example":    "a.example.net 192.0.2.1 | b.example.net 192.0.2.2 b.example.net 2001:db8::2",
		"hosta.example":    "hostalias.example.net 192.0.2.2 hostalias.example.net 2001:db8::2",
		"implicit.example": "implicit.example 192.0.2.3",
		"null.example":     "failed 5.1.10",
		"gone.example":     "failed 5.4.4",
		"text.example":     "failed 5.4.4",
		"broken.example":   "deferred 4.4.3",
	} {
		if got := resolve(t, c, domain); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
	if groups, fault := c.route(t.Context(), Destination{Domain: "big.example"}); fault != nil || len(groups) != 40 || groups[39][0] != "a-rather-long-name-for-a-mail-host-39.example.net" {
		t.Errorf("big answer: %v %v", groups, fault)
	}
}

func resolve(t *testing.T, c *Client, domain string) string {
	t.Helper()
	d := Destination{Domain: domain}
	groups, fault := c.route(t.Context(), d)
	if fault != nil {
		return string(fault.Outcome) + " " + fault.Enhanced
	}
	var out []string
	for _, g := range groups {
		targets, faults, _ := c.targets(t.Context(), d, g)
		var hosts []string
		for _, f := range faults {
			hosts = append(hosts, string(f.Outcome)+" "+f.Enhanced)
		}
		for _, t := range targets {
			hosts = append(hosts, t.name+" "+t.addr.Addr().String())
		}
		out = append(out, strings.Join(hosts, " "))
	}
	return strings.Join(out, " | ")
}
