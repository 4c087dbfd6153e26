package talk

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"mailsrv/probes/imap"
	"mailsrv/probes/smtp"
)

func (s *steps) imap(ctx context.Context, addrs []netip.Addr) {
	got := connect(s, addrs, func(w *stopwatch, addr string) (*imap.Conn, error) {
		return imap.Dial(ctx, addr, s.mailboxOptions(w))
	}, func(c *imap.Conn) *smtp.TLS { return c.TLS })
	c := got.conn
	if c != nil {
		defer c.Close()
		defer func() { s.r.Transcript = c.Transcript }()
	}
	s.do(imap.StageGreeting, func() (string, bool, error) {
		reply, err := c.Greeting()
		s.r.greeting = reply.Raw
		return reply.Raw, false, err
	})
	capabilities := func() error {
		_, err := c.Capability()
		s.r.Capabilities = c.Capabilities
		return err
	}
	s.do(imap.StageCapabilities, func() (string, bool, error) { return "", false, capabilities() })
	if s.wantStartTLS(func() bool { return c.Has("STARTTLS") }) {
		s.do(imap.StageStartTLS, func() (string, bool, error) {
			if !c.Has("STARTTLS") {
				return "", false, errNotOffered("STARTTLS")
			}
			if _, err := c.StartTLS(); err != nil {
				return "", false, err
			}
			if err := tooOld(c.TLS); err != nil {
				return "", false, err
			}
			return c.TLS.Version, false, capabilities()
		})
	}
	if c != nil {
		s.tls(c.TLS)
	}
	if s.opt.User != "" {
		s.auth(func() error {
			if offered := mechanisms(c); c.Has("LOGINDISABLED") && !overlap([]string{"PLAIN"}, offered) {
				return errMechanisms(offered)
			}
			_, err := c.Login(s.opt.User, s.opt.Password)
			return err
		})
		s.do(imap.StageList, func() (string, bool, error) {
			n, err := c.Examine("INBOX")
			if err != nil {
				return "", false, err
			}
			return messages(n), false, nil
		})
		if s.opt.Retr > 0 {
			s.do(imap.StageRetr, func() (string, bool, error) {
				began := time.Now()
				msg, err := c.Fetch(s.opt.Retr, maxMessage)
				s.measured(len(msg), time.Since(began), err)
				return octets(len(msg), err), false, err
			})
		}
	}
	s.quit(c != nil, func() (string, error) {
		reply, err := c.Logout()
		return reply.Raw, err
	})
}

// mechanisms are those of AUTHENTICATE.
func mechanisms(c *imap.Conn) []string {
	var out []string
	for _, word := range c.Capabilities {
		if m, ok := strings.CutPrefix(word, "AUTH="); ok {
			out = append(out, m)
		}
	}
	return out
}
