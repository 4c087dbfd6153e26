package mailbox

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/imap"
	"mailsrv/probes/pop3/pop3test"
)

// imapSession plays a login; what follows has the tags from a4 on.
const imapSession = `> * OK ready
< a1 CAPABILITY
> * CAPABILITY IMAP4rev1
> a1 OK
< a2 LOGIN
> a2 OK
< a3 CAPABILITY
> * CAPABILITY IMAP4rev1
> a3 OK
< a4 EXAMINE
> * 2 EXISTS
> a4 OK
< a5 FETCH 1:2 (UID RFC822.SIZE)
> * 1 FETCH (UID 7 RFC822.SIZE 10)
> * 2 FETCH (UID 9 RFC822.SIZE 20)
> a5 OK
`

func openedIMAP(t *testing.T, script string) (Box, *pop3test.Server) {
	t.Helper()
	srv := pop3test.Play(t, imapSession+script)
	account := at(t, srv)
	account.Protocol = IMAP
	box, clear, err := OpenServer(context.Background(), account)
	must(t, err)
	if clear {
		t.Error("loopback is no network")
	}
	t.Cleanup(func() { _ = box.Close() })
	return box, srv
}

func TestIMAP(t *testing.T) {
	box, _ := openedIMAP(t, `< a6 FETCH 1 BODY.PEEK[HEADER]
> * 1 FETCH (BODY[HEADER] {14}
raw Subject: x\r\n\r\n)\r\n
> a6 OK
< a7 FETCH 2 BODY.PEEK[HEADER]
> a7 NO [SERVERBUG] cannot read it
< a8 FETCH 1 BODY.PEEK[HEADER]
> * 1 FETCH (BODY[HEADER] {14}
raw Subject: x\r\n\r\n)\r\n
> a8 OK
< a9 FETCH 1 BODY.PEEK[TEXT]<0.1000>
> * 1 FETCH (BODY[TEXT]<0> {10}
raw one\r\ntwo\r\n)\r\n
> a9 OK
< a10 FETCH 1 BODY.PEEK[]
> * 1 FETCH (BODY[] {3}
raw abc)\r\n
> a10 OK
`)
	ctx := context.Background()
	ms, err := box.List(ctx)
	must(t, err)
	must(t, Heads(ctx, box, ms, nil))
	want := []Message{
		{Number: 1, UID: "7", Size: 10, Subject: "x"},
		{Number: 2, UID: "9", Size: 20, Error: `retr: the server answered "a7 NO [SERVERBUG] cannot read it"`, Outcome: "temporary"},
	}
	if d := cmp.Diff(want, ms); d != "" {
		t.Error(d)
	}
	if head, err := box.Head(ctx, ms[0], 1); err != nil || string(head) != "Subject: x\r\n\r\none\r\n" {
		t.Errorf("%q %v", head, err)
	}
	var out bytes.Buffer
	if err := box.Copy(ctx, ms[0], &out); err != nil || out.String() != "abc" {
		t.Errorf("%q %v", out.String(), err)
	}
}

// A message that breaks the connection costs only itself.
func TestIMAPDrops(t *testing.T) {
	box, _ := openedIMAP(t, "< a6 FETCH 1\nreset\n")
	ctx := context.Background()
	ms, err := box.List(ctx)
	must(t, err)
	if _, err := box.Head(ctx, ms[0], 0); !errors.As(err, new(*MessageError)) {
		t.Errorf("%v", err)
	}
	ms[0].UID = "8" // another one now has its number
	if _, err := box.Head(ctx, ms[0], 0); err == nil || !strings.Contains(err.Error(), "the mailbox has changed meanwhile") {
		t.Errorf("%v", err)
	}
}

func TestIMAPDeletes(t *testing.T) {
	ctx := context.Background()
	for script, want := range map[string]error{
		"< a6 SELECT\n> * 2 EXISTS\n> a6 OK\n< a7 UID SEARCH\n> * SEARCH\n> a7 OK\n< a8 UID STORE 9\n> a8 OK\n< a9 EXPUNGE\n> a9 OK\n< a10 LOGOUT\n> a10 OK\n": nil,
		"< a6 SELECT\n> * 2 EXISTS\n> a6 OK\n< a7 UID SEARCH\n> * SEARCH 7\n> a7 OK\n":                                                                         imap.ErrOthersMarked,
		"< a6 SELECT\n> * 2 EXISTS\n> a6 OK\n< a7 UID SEARCH\n> * SEARCH\n> a7 OK\n< a8 UID STORE 9\n> a8 OK\n< a9 EXPUNGE\nreset\n":                           ErrUncertain,
	} {
		box, srv := openedIMAP(t, script)
		ms, err := box.List(ctx)
		must(t, err)
		if err := box.Delete(ctx, ms[1:]); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if errors.Is(want, imap.ErrOthersMarked) && slices.ContainsFunc(srv.Said(), func(s string) bool { return strings.Contains(s, "STORE") }) {
			t.Error("something was marked")
		}
	}
}
