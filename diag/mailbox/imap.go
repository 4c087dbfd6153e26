package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"mailsrv/probes/dial"
	"mailsrv/probes/imap"
)

// inbox is the IMAP mailbox that new mail comes to.
const inbox = "INBOX"

// remoteIMAP is a mailbox on an IMAP server. It is opened for reading only,
// until something is to be deleted.
type remoteIMAP struct {
	server     Server
	c          *imap.Conn
	count      int // messages
	clear      bool
	reconnects int
}

func openIMAP(ctx context.Context, s Server) (*remoteIMAP, error) {
	r := &remoteIMAP{server: s}
	if err := r.login(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *remoteIMAP) login(ctx context.Context) error {
	c, err := imap.Dial(ctx, r.server.Address(), r.server.options())
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

// introduce goes from the greeting to the open mailbox.
func (r *remoteIMAP) introduce(c *imap.Conn) error {
	s := r.server
	if _, err := c.Greeting(); err != nil {
		return err
	}
	if _, err := c.Capability(); err != nil {
		return err
	}
	if c.TLS == nil && s.TLS != TLSNone {
		switch {
		case c.Has("STARTTLS"):
			if _, err := c.StartTLS(); err != nil {
				return err
			}
			if _, err := c.Capability(); err != nil {
				return err
			}
		case s.TLS == TLSStart:
			return ErrNoSTLS
		}
	}
	var err error
	if r.clear, err = trusted(c.Addr, c.TLS); err != nil {
		return err
	}
	if !c.LoggedIn {
		if _, err := c.Login(s.User, s.Password); err != nil {
			return err
		}
	}
	if _, err := c.Capability(); err != nil { // what it can do changes with the login
		return err
	}
	r.count, err = c.Examine(inbox)
	return err
}

// Close ends the session; nothing is deleted by it.
func (r *remoteIMAP) Close() error {
	if r.c == nil {
		return nil
	}
	_, err := r.c.Logout()
	r.c = nil
	return err
}

// List implements Box.
func (r *remoteIMAP) List(context.Context) ([]Message, error) {
	sizes, err := r.c.Sizes(r.count)
	if err != nil {
		return nil, err
	}
	out := []Message{}
	for _, m := range sizes {
		x := Message{Number: m.Number, Size: m.Size}
		if m.UID > 0 {
			x.UID = strconv.FormatUint(uint64(m.UID), 10)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Message) int { return a.Number - b.Number })
	return out, nil
}

// Head implements Box. A message on which the server hangs or drops the
// connection costs only itself.
func (r *remoteIMAP) Head(ctx context.Context, m Message, lines int) ([]byte, error) {
	head, err := r.c.Header(m.Number, maxHead)
	if err == nil && lines > 0 {
		var body []byte
		if body, err = r.c.Beginning(m.Number, min(maxHead, int64(lines)*1000)); err == nil {
			head = append(head, firstLines(body, lines)...)
		}
	}
	switch {
	case err == nil:
		return head, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case answered(err):
		return nil, &MessageError{m.Number, err}
	}
	if rerr := r.again(ctx, m); rerr != nil {
		return nil, fmt.Errorf("message %d: %w; after it: %w", m.Number, err, rerr)
	}
	return nil, &MessageError{m.Number, err}
}

func firstLines(body []byte, lines int) []byte {
	at := 0
	for range lines {
		i := bytes.IndexByte(body[at:], '\n')
		if i < 0 {
			return body
		}
		at += i + 1
	}
	return body[:at]
}

// answered tells whether the server refused, so that the conversation can go on.
func answered(err error) bool {
	e := imap.As(err)
	return e != nil && (e.Err == nil || e.How == dial.Permanent)
}

// again logs in anew after the connection was lost, and makes sure that the
// messages have kept their numbers.
func (r *remoteIMAP) again(ctx context.Context, m Message) error {
	_ = r.c.Conn.Close() // it is dead
	if r.reconnects++; r.reconnects > maxReconnects {
		return errors.New("the connection breaks again and again")
	}
	if err := r.login(ctx); err != nil {
		return err
	}
	ms, err := r.List(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(ms, func(x Message) bool { return x.Number == m.Number && x.UID == m.UID && x.Size == m.Size }) {
		return errChangedMeanwhile
	}
	return nil
}

// Copy implements Box.
func (r *remoteIMAP) Copy(_ context.Context, m Message, w io.Writer) error {
	b, err := r.c.Fetch(m.Number, min(maxMessage, 2*m.Size+1<<20))
	if err != nil {
		return &MessageError{m.Number, err}
	}
	_, err = w.Write(b)
	return err
}

// Delete implements Box. The session is over then.
func (r *remoteIMAP) Delete(_ context.Context, ms []Message) error {
	c := r.c
	r.c = nil
	defer func() { _, _ = c.Logout() }()
	var uids []uint32
	for _, m := range ms {
		uid, err := strconv.ParseUint(m.UID, 10, 32)
		if err != nil {
			return &MessageError{m.Number, errors.New("the server gives it no UID")}
		}
		uids = append(uids, uint32(uid))
	}
	if _, err := c.Select(inbox); err != nil {
		return err
	}
	if err := c.Delete(uids); err != nil {
		if answered(err) || errors.Is(err, imap.ErrOthersMarked) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return nil
}
