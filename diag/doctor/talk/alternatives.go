package talk

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/imap"
	"mailsrv/probes/pop3"
	"mailsrv/probes/smtp"
	"mailsrv/probes/wire"
)

// elsewhereMayWork tells whether another port or TLS mode could help: when the
// conversation did not get as far as the login.
func elsewhereMayWork(f *failure) bool {
	return slices.Contains([]string{smtp.StageTCP, smtp.StageTLS, smtp.StageGreeting, smtp.StageCapabilities, smtp.StageStartTLS}, f.stage)
}

var usual = map[string][]Alternative{
	SMTP:       {{Port: 25, TLS: None}, {Port: 587, TLS: None}, {Port: 465, TLS: Implicit}},
	Submission: {{Port: 587, TLS: None}, {Port: 465, TLS: Implicit}, {Port: 25, TLS: None}},
	POP3:       {{Port: 110, TLS: None}, {Port: 995, TLS: Implicit}},
	IMAP:       {{Port: 143, TLS: None}, {Port: 993, TLS: Implicit}},
}

// Usual lists the ports and TLS modes that servers of a protocol usually have.
func Usual(protocol string) []Alternative { return slices.Clone(usual[protocol]) }

// alternatives tries the other TLS mode on the same port and the usual ports,
// each up to the greeting.
func alternatives(ctx context.Context, opt Options, a netip.Addr, failed *failure) []Alternative {
	var list []Alternative
	if failed.stage != smtp.StageTCP { // the port itself answers
		other := Alternative{Port: opt.Port, TLS: Implicit}
		if opt.implicit() {
			other.TLS = None
		}
		list = append(list, other)
	}
	list = append(list, opt.Alternatives...)
	if opt.Alternatives == nil {
		list = append(list, usual[opt.Protocol]...)
	}
	given := Alternative{Port: opt.Port, TLS: None}
	if opt.implicit() {
		given.TLS = Implicit
	}
	var todo []Alternative
	for _, x := range list {
		same := func(y Alternative) bool { return x.Port == y.Port && x.TLS == y.TLS }
		if !same(given) && !slices.ContainsFunc(todo, same) {
			todo = append(todo, x)
		}
	}
	var wg sync.WaitGroup
	for i := range todo {
		wg.Go(func() { todo[i].try(ctx, opt, a) })
	}
	wg.Wait()
	return todo
}

func (x *Alternative) try(ctx context.Context, opt Options, a netip.Addr) {
	x.Status = diag.OK
	if err := x.greeted(ctx, opt, hostPort(a, x.Port)); err != nil {
		x.Status, x.Outcome = diag.Fail, dial.Outcome(err)
	}
}

// greeted connects and reads the greeting.
func (x *Alternative) greeted(ctx context.Context, opt Options, addr string) error {
	o := wire.Options{Dialer: opt.Dialer, Timeout: min(opt.Timeout, 5*time.Second), ServerName: opt.certName(), ImplicitTLS: x.TLS == Implicit}
	switch opt.Protocol {
	case POP3:
		c, err := pop3.Dial(ctx, addr, o)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err = c.Greeting(); err == nil {
			_, _ = c.Quit() // a courtesy
		}
		return err
	case IMAP:
		c, err := imap.Dial(ctx, addr, o)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err = c.Greeting(); err == nil {
			_, _ = c.Logout() // a courtesy
		}
		return err
	}
	c, err := smtp.Dial(ctx, addr, smtp.Options{Dialer: o.Dialer, Timeout: o.Timeout, ServerName: o.ServerName, ImplicitTLS: o.ImplicitTLS})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err = c.Greeting(); err == nil {
		_, _ = c.Quit() // a courtesy
	}
	return err
}
