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
	remote
	c     *imap.Conn
	count int // messages
}

func openIMAP(ctx context.Context, s Server) (*remoteIMAP, error) {
	r := &remoteIMAP{remote: remote{server: s}}
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
	if _, err := c.Greeting(); err != nil {
		return err
	}
	if _, err := c.Capability(); err != nil {
		return err
	}
	err := r.secure(c.Conn, c.Has("STARTTLS"), func() error {
		if _, err := c.StartTLS(); err != nil {
			return err
		}
		_, err := c.Capability()
		return err
	})
	if err != nil {
		return err
	}
	if !c.LoggedIn {
		if _, err := c.Login(r.server.User, r.server.Password); err != nil {
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

// again logs in anew.
func (r *remoteIMAP) again(ctx context.Context, m Message) error {
	_ = r.c.Conn.Close() // it is dead
	return r.resume(ctx, m, func(ctx context.Context) ([]Message, error) {
		if err := r.login(ctx); err != nil {
			return nil, err
		}
		return r.List(ctx)
	})
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
