package mailbox

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/pop3/pop3test"
	"mailsrv/server/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	ms := []Message{{Number: 1, UID: "abc"}, {Number: 2, UID: "1"}, {Number: 3, UID: "3"}, {Number: 5}}
	for _, tt := range []struct {
		word string
		want int // number; 0: an error
		err  string
	}{
		{"abc", 1, ""}, {"2", 2, ""}, {"3", 3, ""}, {"5", 5, ""}, {"uid:1", 2, ""}, {"number:1", 1, ""},
		{"1", 0, `"1" is the number of one message and the id of another: write number:1 or uid:1`},
		{"4", 0, "there is no message 4: the mailbox has 4"},
		{"uid:5", 0, `there is no message with the id "5"`},
		{"nothing", 0, `there is no message with the id "nothing"`},
		{"", 0, `there is no message with the id ""`},
	} {
		got, err := Find(ms, []string{tt.word, tt.word})
		switch {
		case tt.want == 0 && (err == nil || err.Error() != tt.err):
			t.Errorf("%q: %v, want %s", tt.word, err, tt.err)
		case tt.want > 0 && (err != nil || len(got) != 1 || got[0].Number != tt.want):
			t.Errorf("%q: %+v %v", tt.word, got, err)
		}
	}
}

func TestClean(t *testing.T) {
	if got := Clean("a\tb\r\n\x1b[31mc\u202ed\xff"); got != "a b �[31mc�d�" {
		t.Errorf("%q", got)
	}
}

func TestLocal(t *testing.T) {
	dir, box := t.TempDir(), store.Box{Name: "taro", Domain: "example.com"}
	s := store.New(dir)
	for _, text := range []string{"Subject: one\r\nFrom: a@example.com\r\nDate: Tue, 02 Jan 2024 03:04:05 +0900\r\n\r\nbody\r\nmore\r\n", "no header at all\r\n"} {
		in, err := s.Begin("X", []store.Box{box})
		must(t, err)
		_, err = in.Write([]byte(text))
		must(t, err)
		must(t, in.Commit())
	}
	b, err := OpenLocal(s, box, store.By{Client: "test"})
	must(t, err)
	ctx := context.Background()
	ms, err := b.List(ctx)
	must(t, err)
	must(t, Heads(ctx, b, ms, nil))
	for i := range ms {
		ms[i].UID = ""
	}
	want := []Message{
		{Number: 1, Size: 88, From: "a@example.com", Subject: "one", Date: "2024-01-02T03:04:05+09:00"},
		{Number: 2, Size: 18},
	}
	if d := cmp.Diff(want, ms); d != "" {
		t.Error(d)
	}
	head, err := b.Head(ctx, ms[0], 1)
	must(t, err)
	if !strings.HasSuffix(string(head), "\r\n\r\nbody\r\n") {
		t.Errorf("%q", head)
	}
	var whole bytes.Buffer
	must(t, b.Copy(ctx, ms[1], &whole))
	if whole.String() != "no header at all\r\n" {
		t.Errorf("%q", whole.String())
	}
	// Another program deletes the first one; then we do both.
	other, err := OpenLocal(store.New(dir), box, store.By{Client: "test"})
	must(t, err)
	must(t, other.Delete(ctx, ms[:1]))
	if _, err := b.Head(ctx, ms[0], 0); !errors.Is(err, store.ErrGone) || !errors.As(err, new(*MessageError)) {
		t.Errorf("the header of a message that is gone: %v", err)
	}
	must(t, b.Delete(ctx, ms))
	must(t, b.Close())
	b, err = OpenLocal(s, box, store.By{Client: "test"})
	must(t, err)
	if ms, err := b.List(ctx); err != nil || len(ms) != 0 {
		t.Errorf("%+v %v", ms, err)
	}
}

const session = "> +OK ready\n< CAPA\n> +OK\n> TOP\n> .\n< USER\n> +OK\n< PASS\n> +OK\n< LIST\n> +OK\n> 1 10\n> 2 20\n> .\n< UIDL\n> +OK\n> 1 a\n> 2 b\n> .\n"

// at is an account on a playing server.
func at(t *testing.T, srv *pop3test.Server) Server {
	t.Helper()
	ap, err := netip.ParseAddrPort(srv.Addr)
	must(t, err)
	return Server{Host: ap.Addr().String(), Port: int(ap.Port()), User: "taro", Password: "geheim"}
}

func openScript(t *testing.T, script string) *remotePOP3 {
	t.Helper()
	r, err := openPOP3(context.Background(), at(t, pop3test.Play(t, script)))
	must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// A server that drops the connection at one message costs only that one.
func TestRemoteDrops(t *testing.T) {
	r := openScript(t, session+"< TOP\n> +OK\n> Subject: fine\n>\n> .\n< TOP\nreset\n")
	ctx := context.Background()
	ms, err := r.List(ctx)
	must(t, err)
	must(t, Heads(ctx, r, ms, nil))
	head, err := r.Head(ctx, ms[0], 0) // in the new session
	if err != nil || string(head) != "Subject: fine\r\n\r\n" {
		t.Errorf("%q %v", head, err)
	}
}

// When the mailbox has changed meanwhile, numbers mean other messages.
func TestRemoteChanges(t *testing.T) {
	r := openScript(t, session+"< TOP\nreset\n")
	ctx := context.Background()
	ms, err := r.List(ctx)
	must(t, err)
	ms[0].UID = "another"
	if _, err := r.Head(ctx, ms[0], 0); err == nil || !strings.Contains(err.Error(), "the mailbox has changed meanwhile") {
		t.Errorf("%v", err)
	}
}

func TestRemoteDeletesAllOrNothing(t *testing.T) {
	srv := pop3test.Play(t, session+"< DELE 1\n> +OK\n< DELE 2\n> -ERR no such message\n< QUIT\n> +OK\n")
	ctx := context.Background()
	r, err := openPOP3(ctx, at(t, srv))
	must(t, err)
	ms, err := r.List(ctx)
	must(t, err)
	if err := r.Delete(ctx, ms); !errors.As(err, new(*MessageError)) {
		t.Errorf("%v", err)
	}
	must(t, r.Close())
	for _, line := range srv.Said() {
		if line == "QUIT" {
			t.Error("QUIT was said: the server deletes the first one")
		}
	}
}

func TestRemoteWantsTLS(t *testing.T) {
	srv := pop3test.Play(t, "> +OK\n< CAPA\n> +OK\n> TOP\n> .\n< USER\n")
	account := at(t, srv)
	account.TLS = TLSStart
	if _, err := openPOP3(context.Background(), account); !errors.Is(err, ErrNoSTLS) {
		t.Errorf("%v", err)
	}
	for _, line := range srv.Said() {
		if strings.HasPrefix(line, "USER") {
			t.Error("a login without TLS")
		}
	}
}

func FuzzHead(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\nbody\r\n"), 1)
	f.Add([]byte("\n\n\n"), 0)
	f.Add(bytes.Repeat([]byte("x"), 70_000), 2)
	f.Fuzz(func(t *testing.T, text []byte, lines int) {
		head, err := headOf(bytes.NewReader(text), lines%100)
		if err != nil || !bytes.HasPrefix(text, head) {
			t.Errorf("%q of %q: %v", head, text, err)
		}
		var m Message
		m.read(head)
		if strings.ContainsAny(m.Subject+m.From, "\x00\x1b\r\n") {
			t.Errorf("%+v", m)
		}
	})
}
