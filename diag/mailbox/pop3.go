package mailbox

import (
	"context"
	"fmt"
	"io"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/pop3"
)

// remotePOP3 is a mailbox on a POP3 server.
type remotePOP3 struct {
	remote
	c *pop3.Conn
	// tops counts the headers that the server has handed out: one of them
	// shows that it knows TOP.
	tops int
}

func openPOP3(ctx context.Context, s Server) (*remotePOP3, error) {
	r := &remotePOP3{remote: remote{server: s}}
	if err := r.login(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *remotePOP3) login(ctx context.Context) error {
	c, err := pop3.Dial(ctx, r.server.Address(), r.server.options())
	if err != nil {
		return err
	}
	if err := r.introduce(c); err != nil {
		c.Close()
		return err
	}
	r.c = c
	return nil
}

// introduce goes from the greeting to the login.
func (r *remotePOP3) introduce(c *pop3.Conn) error {
	if _, err := c.Greeting(); err != nil {
		return err
	}
	if err := capa(c); err != nil {
		return err
	}
	err := r.secure(c.Conn, c.Has("STLS"), func() error {
		if _, err := c.StartTLS(); err != nil {
			return err
		}
		return capa(c)
	})
	if err != nil {
		return err
	}
	_, err = c.Login(r.server.User, r.server.Password)
	return err
}

// capa asks for the capabilities; servers from before RFC 2449 refuse that.
func capa(c *pop3.Conn) error {
	_, err := c.Capa()
	if refused(err) {
		return nil
	}
	return err
}

// refused tells whether the server answered -ERR, so that the conversation can
// go on.
func refused(err error) bool {
	e := pop3.As(err)
	return e != nil && e.Err == nil
}

// Close ends the session; nothing is deleted by it.
func (r *remotePOP3) Close() error {
	if r.c == nil {
		return nil
	}
	_, err := r.c.Quit()
	r.c = nil
	return err
}

// List implements Box. A server without UIDL gives no ids.
func (r *remotePOP3) List(context.Context) ([]Message, error) {
	sizes, err := r.c.List()
	if err != nil {
		return nil, err
	}
	uids, err := r.c.Uidl()
	if err != nil && !refused(err) {
		return nil, err
	}
	at := map[int]string{}
	for _, m := range uids {
		at[m.Number] = m.UID
	}
	out := []Message{}
	for _, m := range sizes {
		out = append(out, Message{Number: m.Number, UID: at[m.Number], Size: m.Size})
	}
	return out, nil
}

// Head implements Box, by TOP. A message on which the server hangs or drops the
// connection costs only itself: it is asked for the others in a new session.
func (r *remotePOP3) Head(ctx context.Context, m Message, lines int) ([]byte, error) {
	head, err := r.c.Top(m.Number, lines, maxHead)
	switch {
	case err == nil:
		r.tops++
		return head, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case refused(err) && r.tops == 0 && !r.c.Has("TOP"):
		return nil, ErrNoHead
	case refused(err):
		return nil, &MessageError{m.Number, err}
	}
	if rerr := r.again(ctx, m); rerr != nil {
		return nil, fmt.Errorf("message %d: %w; after it: %w", m.Number, err, rerr)
	}
	return nil, &MessageError{m.Number, err}
}

// again logs in anew.
func (r *remotePOP3) again(ctx context.Context, m Message) error {
	_ = r.c.Close() // it is dead
	return r.resume(ctx, m, func(ctx context.Context) ([]Message, error) {
		// The server may need a moment to see that the old session is over.
		for try := 1; ; try++ {
			err := r.login(ctx)
			if err == nil {
				return r.List(ctx)
			}
			if e := pop3.As(err); e == nil || e.How != dial.InUse || try == 5 {
				return nil, err
			}
			t := time.NewTimer(time.Second)
			select {
			case <-ctx.Done():
				t.Stop()
				return nil, ctx.Err()
			case <-t.C:
			}
		}
	})
}

// Copy implements Box, by RETR.
func (r *remotePOP3) Copy(_ context.Context, m Message, w io.Writer) error {
	b, err := r.c.Retr(m.Number, min(maxMessage, 2*m.Size+1<<20))
	if err != nil {
		return &MessageError{m.Number, err}
	}
	_, err = w.Write(b)
	return err
}

// Delete implements Box: DELE each, then QUIT, which makes the server do it.
// When one cannot be deleted, none is. The session is over then.
func (r *remotePOP3) Delete(_ context.Context, ms []Message) error {
	c := r.c
	r.c = nil
	for _, m := range ms {
		if _, err := c.Dele(m.Number); err != nil {
			_ = c.Close() // without QUIT nothing is deleted
			return &MessageError{m.Number, err}
		}
	}
	if _, err := c.Quit(); err != nil {
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return nil
}
