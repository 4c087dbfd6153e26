package imap

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSizesAndHeaders(t *testing.T) {
	c := connect(t, `
		> * PREAUTH ready
		< a1 EXAMINE "INBOX"
		> * 2 EXISTS
		> a1 OK done
		< a2 FETCH 1:2 (UID RFC822.SIZE)
		> * 1 FETCH (UID 7 RFC822.SIZE 120)
		> * 2 FETCH (RFC822.SIZE 52000000 UID 9)
		> * 2 FETCH (FLAGS (\\Seen))
		> a2 OK done
		< a3 FETCH 1 BODY.PEEK[HEADER]
		> * 1 FETCH (BODY[HEADER] {14}
		raw Subject: x\r\n\r\n)\r\n
		> a3 OK done
		< a4 FETCH 1 BODY.PEEK[TEXT]<0.100>
		> * 1 FETCH (BODY[TEXT]<0> \x22say \\\x22hi\\\x22\x22)
		> a4 OK done
		< a5 FETCH 2 BODY.PEEK[HEADER]
		> * 2 FETCH (BODY[HEADER] NIL)
		> a5 OK done
		< a6 FETCH 2 BODY.PEEK[]
		> a6 NO [EXPUNGEISSUED] it is gone`)
	if _, err := c.Greeting(); err != nil {
		t.Fatal(err)
	}
	n, err := c.Examine("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Sizes(n)
	if d := cmp.Diff([]Message{{1, 7, 120}, {2, 9, 52_000_000}}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if head, err := c.Header(1, 100); string(head) != "Subject: x\r\n\r\n" || err != nil {
		t.Errorf("%q %v", head, err)
	}
	if text, err := c.Beginning(1, 100); string(text) != `say "hi"` || err != nil {
		t.Errorf("%q %v", text, err)
	}
	if head, err := c.Header(2, 100); len(head) != 0 || err != nil {
		t.Errorf("%q %v", head, err)
	}
	if _, err := c.Fetch(2, 100); As(err) == nil || As(err).Reply.Code != "EXPUNGEISSUED" {
		t.Errorf("%v", err)
	}
}

func TestDelete(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		err          error
	}{
		{"one by one", "> * PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS] ready\n< a1 UID STORE 7,9 +FLAGS.SILENT (\\Deleted)\n> a1 OK\n< a2 UID EXPUNGE 7,9\n> a2 OK", nil},
		{"all that are marked", "> * PREAUTH [CAPABILITY IMAP4rev1] ready\n< a1 UID SEARCH DELETED\n> * SEARCH 9\n> a1 OK\n< a2 UID STORE 7,9 +FLAGS.SILENT (\\Deleted)\n> a2 OK\n< a3 EXPUNGE\n> a3 OK", nil},
		{"others are marked", "> * PREAUTH [CAPABILITY IMAP4rev1] ready\n< a1 UID SEARCH DELETED\n> * SEARCH 9 11\n> a1 OK\n", ErrOthersMarked},
	} {
		c := connect(t, tt.script)
		if _, err := c.Greeting(); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete([]uint32{7, 9}); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add("2 FETCH (UID 7 RFC822.SIZE 1234)")
	f.Add("2 FETCH (FLAGS (\\Seen) RFC822.SIZE 99999999999999999999 UID x)")
	f.Add("x FETCH RFC822.SIZE")
	f.Fuzz(func(t *testing.T, line string) {
		if m, ok := parseMessage(line); ok && (m.Number < 1 || m.Size < 0) {
			t.Errorf("%q: %+v", line, m)
		}
		short().FindStringSubmatch(line)
	})
}
