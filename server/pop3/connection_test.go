package pop3

import (
	"bufio"
	"context"
	"crypto/tls"
	"testing"
	"time"

	"mailsrv/server/keys"
)

func TestTLS(t *testing.T) {
	withTLS := func(implicit bool) func(*rig) {
		return func(r *rig) {
			cfg, err := keys.SelfSigned(t.TempDir(), "mail.example.com", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			r.TLS, r.ImplicitTLS = cfg, implicit
		}
	}
	handshake := func(p *peer) {
		c := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		p.Conn, p.r = c, bufio.NewReader(c)
	}
	t.Run("STLS", func(t *testing.T) {
		p := newRig(t, withTLS(false), "one\r\n").dial(t)
		p.do("USER evil")
		p.send("STLS\r\nUSER taro\r\nPASS " + password + "\r\n") // injected: thrown away
		if got := p.line(); got != "+OK Begin TLS" {
			t.Fatal(got)
		}
		handshake(p)
		p.talk(`C: PASS correct horse battery
			S: -ERR Send USER first
			C: STLS
			S: -ERR TLS is on already`)
		p.login()
	})
	t.Run("from the start", func(t *testing.T) {
		p := newRig(t, withTLS(true), "one\r\n").dial(t)
		handshake(p)
		if got := p.line(); got != "+OK mail.example.com POP3 mailsrv" {
			t.Fatal(got)
		}
		p.login()
	})
}

func TestTimeoutAndStop(t *testing.T) {
	r := newRig(t, func(r *rig) { r.Limits.Idle = 200 * time.Millisecond }, "one\r\n")
	p := r.dial(t)
	p.login()
	p.send("STA")
	if got := p.line(); got != "-ERR Timeout waiting for the client; nothing was deleted" {
		t.Error(got)
	}
	waitUnlocked(t, r)

	r = newRig(t, nil, "one\r\n")
	p, marked := r.dial(t), r.dial(t)
	marked.login()
	marked.do("DELE 1")
	stopped := make(chan int)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- r.group.Stop(ctx)
	}()
	if got := p.line(); got != "-ERR [SYS/TEMP] Server is stopping; nothing was deleted; try again later" {
		t.Error(got)
	}
	p.Close()
	// Who has marked messages may still say QUIT.
	if got := marked.do("QUIT"); got != "+OK Bye" {
		t.Error(got)
	}
	if cut := <-stopped; cut != 0 {
		t.Errorf("%d sessions cut off", cut)
	}
}
