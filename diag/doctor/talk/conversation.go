package talk

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"mailsrv/codes"
	"mailsrv/probes/dial"
	"mailsrv/probes/imap"
	"mailsrv/probes/pop3"
	"mailsrv/probes/smtp"
	"mailsrv/probes/tlscert"
	"mailsrv/probes/wire"
)

// connected is what the clients of all protocols give after dialling.
type connected[C any] struct {
	conn C
	addr netip.Addr
	err  error
}

// connect dials one address after another until one answers, and notes the
// stages tcp and, for TLS from the start, tls.
func connect[C any](s *steps, addrs []netip.Addr, dialOne func(w *stopwatch, addr string) (C, error), tlsOf func(C) *smtp.TLS) connected[C] {
	var got connected[C]
	var w *stopwatch
	var began, ended time.Time
	stageOf := func(err error) string {
		if f := failureOf("", err); f.stage != "" {
			return f.stage
		}
		return smtp.StageTCP
	}
	s.timed(smtp.StageTCP, func() (time.Duration, string, bool, error) {
		for _, a := range addrs {
			w = &stopwatch{Dialer: s.opt.Dialer}
			began = time.Now()
			got.addr = a
			got.conn, got.err = dialOne(w, hostPort(a, s.opt.Port))
			ended = time.Now()
			if got.err == nil || stageOf(got.err) != smtp.StageTCP {
				break
			}
		}
		s.r.Target.Address = got.addr.String()
		if got.err != nil && stageOf(got.err) == smtp.StageTCP {
			return ended.Sub(began), "", false, got.err
		}
		return w.connected.Sub(began), got.addr.String(), false, nil
	})
	if s.opt.implicit() {
		s.timed(smtp.StageTLS, func() (time.Duration, string, bool, error) {
			err := got.err
			if err == nil {
				err = tooOld(tlsOf(got.conn))
			}
			return ended.Sub(w.connected), "", false, err
		})
	}
	return got
}

func (s *steps) smtp(ctx context.Context, addrs []netip.Addr) {
	got := connect(s, addrs, func(w *stopwatch, addr string) (*smtp.Conn, error) {
		return smtp.Dial(ctx, addr, smtp.Options{
			Dialer: w, Helo: "", Timeout: s.opt.Timeout, RootCAs: s.opt.RootCAs, ServerName: s.opt.certName(), ImplicitTLS: s.opt.implicit(), Now: s.opt.Now,
		})
	}, func(c *smtp.Conn) *smtp.TLS { return c.TLS })
	c := got.conn
	if c != nil {
		defer c.Close()
		defer func() { s.r.Transcript = c.Transcript }()
	}
	s.do(smtp.StageGreeting, func() (string, bool, error) {
		reply, err := c.Greeting()
		s.r.greeting = lastSaid(c.Transcript)
		return reply.String(), false, err
	})
	s.do(smtp.StageCapabilities, func() (string, bool, error) {
		_, err := c.Ehlo()
		s.r.Capabilities = extensions(c)
		return c.Hello, err == nil && c.Hello == "HELO", err
	})
	if s.wantStartTLS(func() bool { return c.Has("STARTTLS") }) {
		s.do(smtp.StageStartTLS, func() (string, bool, error) {
			if !c.Has("STARTTLS") {
				return "", false, errNotOffered("STARTTLS")
			}
			if _, err := c.StartTLS(); err != nil {
				return "", false, err
			}
			if err := tooOld(c.TLS); err != nil {
				return "", false, err
			}
			_, err := c.Ehlo()
			s.r.Capabilities = extensions(c)
			return c.TLS.Version, false, err
		})
	}
	if c != nil {
		s.tls(c.TLS)
	}
	if s.opt.User != "" {
		s.auth(func() error {
			ours := []string{"PLAIN", "LOGIN"}
			if offered := c.Mechanisms(); !overlap(ours, offered) {
				return errMechanisms(offered)
			}
			_, err := c.Auth("", s.opt.User, s.opt.Password)
			return err
		})
	}
	message, open := s.message(), false
	if s.opt.From != "" || s.opt.To != "" {
		s.do(smtp.StageMail, func() (string, bool, error) {
			var params []string
			if c.Has("SIZE") { // as mail programs do, RFC 1870
				params = append(params, fmt.Sprintf("SIZE=%d", len(message)))
			}
			reply, err := c.Mail(s.opt.From, params...)
			open = err == nil
			return reply.String(), false, err
		})
	}
	if s.opt.To != "" {
		s.do(smtp.StageRcpt, func() (string, bool, error) {
			reply, err := c.Rcpt(s.opt.To)
			return reply.String(), false, err
		})
	}
	if s.opt.Send {
		s.do(smtp.StageData, func() (string, bool, error) {
			began := time.Now()
			reply, err := c.Data(message)
			s.measured(len(message), time.Since(began), err)
			open = err != nil
			return reply.String(), false, err
		})
	}
	s.quit(c != nil, func() (string, error) {
		if open { // the server is to forget it at once
			_, _ = c.Rset()
		}
		reply, err := c.Quit()
		return reply.String(), err
	})
}

// mailboxOptions are for POP3 and IMAP alike.
func (s *steps) mailboxOptions(w *stopwatch) wire.Options {
	return wire.Options{
		Dialer: w, Timeout: s.opt.Timeout, RootCAs: s.opt.RootCAs, ServerName: s.opt.certName(), ImplicitTLS: s.opt.implicit(), Now: s.opt.Now,
	}
}

func (s *steps) pop3(ctx context.Context, addrs []netip.Addr) {
	got := connect(s, addrs, func(w *stopwatch, addr string) (*pop3.Conn, error) {
		return pop3.Dial(ctx, addr, s.mailboxOptions(w))
	}, func(c *pop3.Conn) *smtp.TLS { return c.TLS })
	c := got.conn
	if c != nil {
		defer c.Close()
		defer func() { s.r.Transcript = c.Transcript }()
	}
	s.do(pop3.StageGreeting, func() (string, bool, error) {
		reply, err := c.Greeting()
		s.r.greeting = reply.Raw
		return reply.Raw, false, err
	})
	s.do(pop3.StageCapabilities, func() (string, bool, error) {
		reply, err := c.Capa()
		if e := pop3.As(err); e != nil && e.Err == nil {
			return reply.Raw, false, nil // a server from before RFC 2449
		}
		s.r.Capabilities = c.Capabilities
		return "", false, err
	})
	if s.wantStartTLS(func() bool { return c.Has("STLS") }) {
		s.do(pop3.StageStartTLS, func() (string, bool, error) {
			if _, err := c.StartTLS(); err != nil {
				return "", false, err
			}
			if err := tooOld(c.TLS); err != nil {
				return "", false, err
			}
			if _, err := c.Capa(); err != nil {
				return c.TLS.Version, false, err
			}
			s.r.Capabilities = c.Capabilities
			return c.TLS.Version, false, nil
		})
	}
	if c != nil {
		s.tls(c.TLS)
	}
	if s.opt.User == "" && s.opt.AskUser != "" && c != nil && c.TakesUser() {
		s.do(pop3.StageAuth, func() (string, bool, error) {
			reply, err := c.User(s.opt.AskUser)
			return reply.Raw, false, err
		})
	}
	if s.opt.User != "" {
		s.auth(func() error {
			_, err := c.Login(s.opt.User, s.opt.Password)
			return err
		})
		s.do(pop3.StageList, func() (string, bool, error) {
			n, octets, err := c.Stat()
			if err == nil {
				_, err = c.List()
			}
			if err != nil {
				return "", false, err
			}
			return fmt.Sprintf("%s, %d octets", messages(n), octets), false, nil
		})
		if s.opt.Retr > 0 {
			s.do(pop3.StageRetr, func() (string, bool, error) {
				began := time.Now()
				msg, err := c.Retr(s.opt.Retr, maxMessage)
				s.measured(len(msg), time.Since(began), err)
				return octets(len(msg), err), false, err
			})
		}
	}
	s.quit(c != nil, func() (string, error) {
		reply, err := c.Quit()
		return reply.Raw, err
	})
}

// maxMessage is the largest message that is fetched, in octets.
const maxMessage = 1 << 30

// wantStartTLS tells whether the stage is gone through: when asked for, or
// where it is offered.
func (s *steps) wantStartTLS(offered func() bool) bool {
	if s.opt.implicit() || s.opt.TLS == None {
		return false
	}
	return s.opt.TLS == StartTLS || s.r.failure == nil && !s.stop && offered()
}

// tls keeps the facts of the encrypted connection, judged for the right name.
func (s *steps) tls(t *smtp.TLS) {
	if t == nil {
		return
	}
	facts := *t
	facts.Facts = tlscert.Inspect(t.Chain, s.opt.certName(), s.opt.RootCAs, s.opt.Now)
	s.r.TLS = &facts
	for i := range s.r.Stages {
		if st := &s.r.Stages[i]; st.Stage == smtp.StageTLS && st.Status == "ok" {
			st.Detail = facts.Version
		}
	}
}

// auth logs in, but never hands a password to somebody who may not be the
// server.
func (s *steps) auth(login func() error) {
	addr, _ := netip.ParseAddr(s.r.Target.Address)
	if s.r.failure == nil && !s.stop && s.r.TLS != nil && s.r.TLS.Fault != "" && !addr.IsLoopback() {
		s.r.failure = &failure{stage: "cert", outcome: s.r.TLS.Fault}
	}
	s.do(smtp.StageAuth, func() (string, bool, error) {
		clear := s.r.TLS == nil && !addr.IsLoopback()
		return "", clear, login()
	})
}

// quit says goodbye, also after a failure, as far as there is somebody to say
// it to.
func (s *steps) quit(open bool, bye func() (string, error)) {
	before := s.r.failure
	if !open || s.r.greeting == "" || before != nil && !talking(before.outcome) {
		s.r.Stages = append(s.r.Stages, Stage{Stage: smtp.StageQuit, Status: "skip"})
		return
	}
	s.r.failure = nil
	s.do(smtp.StageQuit, func() (string, bool, error) {
		detail, err := bye()
		// Everything is said by now: a server that just hangs up is rude, no
		// more.
		return detail, err != nil, nil
	})
	s.r.failure = before
}

// talking tells whether the server still listens after that outcome.
func talking(outcome string) bool {
	switch outcome {
	case dial.Temporary, dial.Permanent, dial.InUse, dial.PlainExpected, tlscert.SelfSigned, tlscert.Untrusted, tlscert.Expired, tlscert.NotYetValid, tlscert.WrongName:
		return true
	}
	return false
}

// errNotOffered: the server does not speak TLS there.
type errNotOffered string

func (e errNotOffered) Error() string { return "the server does not offer " + string(e) }

// Outcome is the word of the documents for it.
func (e errNotOffered) Outcome() string { return dial.PlainExpected }

// errMechanisms are login mechanisms of which we speak none.
type errMechanisms []string

func (e errMechanisms) Error() string {
	if len(e) == 0 {
		return "the server does not offer AUTH here"
	}
	return "the server offers only the mechanisms " + strings.Join(e, " ")
}

// Outcome is the word of the documents for it.
func (e errMechanisms) Outcome() string { return dial.Permanent }

func overlap(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

func extensions(c *smtp.Conn) []string {
	var out []string
	for k, v := range c.Extensions {
		out = append(out, strings.TrimSpace(k+" "+v))
	}
	return sorted(out)
}

func lastSaid(lines []smtp.Line) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i].From == "S" {
			return lines[i].Text
		}
	}
	return ""
}

// failureOf takes an error of either client apart. An own stage of the error
// wins over the one given.
func failureOf(stage string, err error) *failure {
	f := &failure{stage: stage, outcome: dial.Outcome(err), err: err}
	if e := smtp.As(err); e != nil {
		f.stage, f.err = e.Stage, e.Err
		if e.Reply.Code >= 400 || e.Err == nil {
			f.reply = e.Reply.String()
		}
	}
	if e := pop3.As(err); e != nil {
		f.stage, f.err = e.Stage, e.Err
		if !e.Reply.OK || e.Err == nil { // a yes that broke off says nothing
			f.reply = e.Reply.Raw
		}
	}
	if e := imap.As(err); e != nil {
		f.stage, f.err = e.Stage, e.Err
		if !e.Reply.OK || e.Err == nil {
			f.reply = e.Reply.Raw
		}
	}
	var m errMechanisms
	if errors.As(err, &m) {
		f.mechanisms = m
	}
	if stage != "" {
		f.stage = stage
	}
	// Old servers say that a mailbox is locked in words only.
	if f.outcome == dial.Permanent && saysCause(f.reply, "mailbox-locked") {
		f.outcome = dial.InUse
	}
	return f
}

// saysCause tells whether the catalogue reads that cause from the words.
func saysCause(words, cause string) bool {
	for _, m := range codes.MatchText(words) {
		return m.Entry.Cause == cause // the first one is the most specific
	}
	return false
}
