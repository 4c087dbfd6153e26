package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/pop3"
	"mailsrv/probes/smtp"
	"mailsrv/server/config"
)

func init() {
	register(Check{Name: "loop", Stage: Local, Limit: 60 * time.Second, After: []string{"environment", "config", "ports", "accounts"}, Run: needsData("loop", loop)})
}

// Stages of the loop that are not those of the SMTP conversation.
const (
	stageAccount     = "account"
	stageConnect     = "connect"
	stageDeliver     = "deliver"
	stagePOP3Connect = "pop3-connect"
	stagePOP3Login   = "pop3-login"
	stageCompare     = "compare"
)

const (
	loopSlow    = 10 * time.Second
	deliverWait = 20 * time.Second
	accountLife = 5 * time.Minute
)

// loop sends one message to itself, fetches it, compares, and deletes it: the
// first test of the old help texts. It uses an account and a mailbox of its
// own; nothing remains.
func loop(ctx context.Context, c *Case) []diag.Finding {
	if !c.Running {
		return skipped("loop", "server.not_running")
	}
	if id := c.Has("port.not_listening", "server.not_answering", "port.wrong_service"); id != "" {
		return skipped("loop", id)
	}
	send, okSend := c.listener(config.Submission, config.Submissions, config.SMTP)
	fetch, okFetch := c.listener(config.POP3, config.POP3S)
	switch {
	case !okSend || !okFetch:
		return untested("no-listener", "")
	case c.TempAccount == nil:
		return untested("no-account", "")
	}
	acct, err := c.TempAccount(accountLife)
	if err != nil {
		return untested("no-account", err.Error())
	}
	l := &looper{c: c, send: send, fetch: fetch, acct: acct, began: time.Now(), mark: time.Now()}
	l.run(ctx)
	if err := acct.Remove(); err != nil {
		l.fail(stageAccount, err)
	}
	return l.findings()
}

func untested(missing, why string) []diag.Finding {
	return []diag.Finding{diag.New("loop.untested", "", diag.Evidence{"missing": missing, "reason": why})}
}

type looper struct {
	c           *Case
	send, fetch config.Listener
	acct        TempAccount
	message     []byte

	began, mark time.Time
	steps       []string
	failed      diag.Evidence // nil: all went well
	changed     diag.Evidence
}

func (l *looper) step(stage string) {
	l.steps = append(l.steps, fmt.Sprintf("%s %.1f ms", stage, ms(time.Since(l.mark))))
	l.mark = time.Now()
}

// fail notes the first stage that failed.
func (l *looper) fail(stage string, err error) bool {
	if err == nil {
		l.step(stage)
		return false
	}
	if l.failed != nil {
		return true
	}
	l.failed = diag.Evidence{"stage": stage, "reason": err.Error()}
	set := func(key, value string) {
		if value != "" {
			l.failed[key] = value
		}
	}
	if e := smtp.As(err); e != nil {
		set("outcome", e.How)
		set("reply", e.Reply.String())
	}
	if e := pop3.As(err); e != nil {
		set("outcome", e.How)
		set("reply", e.Reply.Raw)
	}
	return true
}

func (l *looper) findings() []diag.Finding {
	took := time.Since(l.began)
	switch {
	case l.failed != nil:
		l.failed["steps"] = l.steps
		reply, _ := l.failed["reply"].(string)
		return []diag.Finding{diag.New("loop.failed", fmt.Sprint(l.failed["stage"]), l.failed).With("q_reply", shellWord(reply))}
	case l.changed != nil:
		return []diag.Finding{diag.New("loop.changed", "", l.changed)}
	case took > loopSlow:
		return []diag.Finding{diag.New("loop.slow", "", diag.Evidence{"ms": took.Milliseconds(), "steps": l.steps})}
	}
	return []diag.Finding{diag.New("loop.ok", "", diag.Evidence{"ms": took.Milliseconds(), "steps": l.steps})}
}

func (l *looper) run(ctx context.Context) {
	l.message = loopMessage(l.acct.Address, l.c.Now)
	if l.submit(ctx) {
		l.fetchBack(ctx)
	}
}

// submit sends the message; ok tells that the server has taken it.
func (l *looper) submit(ctx context.Context) (ok bool) {
	s, err := smtp.Dial(ctx, reachable(l.send, l.c.Addresses), smtp.Options{
		Timeout: l.c.Timeout, Helo: "localhost", ServerName: l.c.Config.Hostname, ImplicitTLS: l.send.ImplicitTLS(),
	})
	if err == nil {
		defer s.Close()
		_, err = s.Greeting()
	}
	if err == nil {
		_, err = s.Ehlo()
	}
	if l.fail(stageConnect, err) {
		return false
	}
	if s.Has("STARTTLS") && s.TLS == nil {
		if _, err = s.StartTLS(); err == nil {
			_, err = s.Ehlo()
		}
		if l.fail("tls", err) {
			return false
		}
	}
	_, err = s.Auth("", l.acct.Address, l.acct.Password)
	if l.fail(smtp.StageAuth, err) {
		return false
	}
	_, err = s.Mail(l.acct.Address)
	if l.fail(smtp.StageMail, err) {
		return false
	}
	_, err = s.Rcpt(l.acct.Address)
	if l.fail(smtp.StageRcpt, err) {
		return false
	}
	_, err = s.Data(l.message)
	if l.fail(smtp.StageData, err) {
		return false
	}
	_, _ = s.Quit() // the message is taken; how the goodbye ends changes nothing
	return true
}

// fetchBack waits for the message in the mailbox, fetches, compares, deletes.
func (l *looper) fetchBack(ctx context.Context) {
	wait, cancel := context.WithTimeout(ctx, deliverWait)
	defer cancel()
	for {
		there, err := l.look(ctx)
		if there || err != nil {
			return
		}
		select {
		case <-wait.Done():
			l.fail(stageDeliver, errors.New("the server took the message, but it does not appear in the mailbox"))
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// look opens the mailbox once. there tells that the message was in it, however
// the rest went.
func (l *looper) look(ctx context.Context) (there bool, err error) {
	p, err := pop3.Dial(ctx, reachable(l.fetch, l.c.Addresses), pop3.Options{
		Timeout: l.c.Timeout, ServerName: l.c.Config.Hostname, ImplicitTLS: l.fetch.ImplicitTLS(),
	})
	if err == nil {
		defer p.Close()
		_, err = p.Greeting()
	}
	if err == nil {
		if _, cerr := p.Capa(); cerr == nil && p.Has("STLS") && p.TLS == nil {
			if _, err = p.StartTLS(); err == nil {
				_, err = p.Capa()
			}
		}
	}
	if err != nil {
		l.fail(stagePOP3Connect, err)
		return false, err
	}
	connected := time.Now()
	if _, err = p.Login(l.acct.Address, l.acct.Password); err != nil {
		l.fail(stagePOP3Login, err)
		return false, err
	}
	list, err := p.List()
	if err != nil {
		l.fail(pop3.StageList, err)
		return false, err
	}
	if len(list) == 0 {
		_, _ = p.Quit() // once more later
		return false, nil
	}
	l.steps = append(l.steps, fmt.Sprintf("%s %.1f ms", stageDeliver, ms(connected.Sub(l.mark))))
	l.mark = connected
	l.step(stagePOP3Login)
	l.step(pop3.StageList)
	msg, err := p.Retr(list[0].Number, int64(len(l.message))+64<<10)
	if l.fail(pop3.StageRetr, err) {
		return true, err
	}
	l.changed = compare(l.message, msg)
	l.step(stageCompare)
	if _, err = p.Dele(list[0].Number); err == nil {
		_, err = p.Quit()
	}
	l.fail(pop3.StageDele, err)
	return true, nil
}

// loopMessage has what servers are known to damage: lines that begin with dots
// or From, a line as long as allowed, blanks at line ends, empty lines.
func loopMessage(address string, now time.Time) []byte {
	body := "This is a test message of \"mailsrv doctor\"; it is deleted at once.\r\n" +
		".\r\n..two dots\r\nFrom here on\r\n>From there\r\nblanks at the end  \t \r\n\r\n\r\n" +
		string(bytes.Repeat([]byte("0123456789"), 99)) + "\r\nlast line"
	msg := smtp.TestMessage(address, address, "mailsrv doctor loop test "+now.UTC().Format(time.RFC3339Nano), body)
	return msg
}

// compare looks for the message sent at the end of the one that came back:
// servers add header lines at the top. It returns nil when they are the same,
// else the first difference.
func compare(sent, got []byte) diag.Evidence {
	if bytes.HasSuffix(got, sent) {
		return nil
	}
	// Line up both at the first line of what was sent, as far as it is there.
	first, _, _ := bytes.Cut(sent, []byte("\r\n"))
	at := bytes.Index(got, first)
	if at < 0 {
		return diag.Evidence{"offset": 0, "sent": excerpt(sent, 0), "got": excerpt(got, 0), "sent_size": len(sent), "got_size": len(got)}
	}
	got = got[at:]
	n := 0
	for n < len(sent) && n < len(got) && sent[n] == got[n] {
		n++
	}
	return diag.Evidence{"offset": n, "sent": excerpt(sent, n), "got": excerpt(got, n), "sent_size": len(sent), "got_size": len(got)}
}

func excerpt(b []byte, at int) string {
	from := max(0, at-10)
	return fmt.Sprintf("%q", b[from:min(len(b), at+30)])
}
