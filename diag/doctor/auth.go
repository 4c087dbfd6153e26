package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/server/config"
)

func init() {
	register(Check{Name: "auth", Stage: Local, Limit: 10 * time.Second, Run: needsConfig("auth", auth)})
}

// auth judges how users log in, by the configuration.
func auth(ctx context.Context, c *Case) []diag.Finding {
	var out []diag.Finding
	if !c.Config.Auth.RequireTLS {
		var open []string
		for _, l := range c.Config.Listen {
			if !l.Loopback() && !l.ImplicitTLS() {
				open = append(open, l.Service+" "+l.Addr)
			}
		}
		if len(open) > 0 {
			out = append(out, diag.New("auth.cleartext", "auth.require_tls", diag.Evidence{"listeners": open}))
		}
	}
	out = append(out, c.mechanisms()...)
	for _, n := range c.Config.Relay.Networks {
		if c.Config.Relay.Allow && !coversInternet(n) && (n.Addr().IsLoopback() || n.IsSingleIP() && c.Own(n.Addr())) {
			out = append(out, diag.New("auth.test_exemption", n.String(), diag.Evidence{"network": n.String()}))
		}
	}
	out = append(out, c.popBeforeSMTP()...)
	_, smtp := c.listener(config.SMTP)
	_, submission := c.listener(config.Submission, config.Submissions)
	if smtp && !submission {
		out = append(out, diag.New("auth.no_submission", "", nil))
	}
	return out
}

// mechanisms: what stands in the file beside what can be done with it.
func (c *Case) mechanisms() []diag.Finding {
	var out []diag.Finding
	for _, p := range c.Problems {
		if name := unsupported(p); name != "" {
			out = append(out, diag.New("auth.mechanism_unsupported", name, diag.Evidence{"mechanism": name, "file": p.File, "line": p.Line}))
		}
	}
	if len(c.Config.Auth.Mechanisms) == 0 && len(out) == 0 {
		out = append(out, diag.New("auth.no_mechanism", "auth.mechanisms", nil))
	}
	return out
}

// unsupported names the mechanism of a problem when it is one that exists, but
// needs the password itself, or a service that mailsrv does not have.
func unsupported(p config.Problem) string {
	name := strings.ToUpper(unquoted(p.Value))
	known := []string{"CRAM-MD5", "DIGEST-MD5", "APOP", "NTLM", "GSSAPI", "SCRAM-SHA-1", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"}
	if p.Key == "auth.mechanisms" && slices.Contains(known, name) {
		return name
	}
	return ""
}
