package deliver

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"mailsrv/server/deliver/sinktest"
)

func TestReuse(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{Script: func(ss *sinktest.Session, verb, arg string) string {
		switch {
		case ss.Messages == 2 && verb == "MAIL":
			return "CLOSE 421 4.7.0 Enough for now"
		case strings.Contains(arg, "gone"):
			return "550 5.1.1 Unknown"
		}
		return ""
	}}, "192.0.2.1")
	c := w.client()
	k := c.Courier(Destination{Domain: "example.jp"})
	for i, tt := range []struct{ to, want string }{
		{"a", "delivered 2.0.0 mx.example.jp"}, {"gone", "failed 5.1.1 mx.example.jp"}, {"b", "delivered 2.0.0 mx.example.jp"},
		{"c", "delivered 2.0.0 mx.example.jp"}, // on a new connection
	} {
		want(t, k.Deliver(t.Context(), message(hello, tt.to+"@example.jp")), tt.want)
		if !k.Connected() {
			t.Errorf("message %d: connection not kept", i)
		}
	}
	k.Close()
	dialogue(t, s, "1 EHLO mail.example.com", "1 MAIL FROM:<taro@example.com> SIZE=25", "1 RCPT TO:<a@example.jp>", "1 DATA",
		"1 MAIL FROM:<taro@example.com> SIZE=25", "1 RCPT TO:<gone@example.jp>", "1 DATA", "1 RSET",
		"1 MAIL FROM:<taro@example.com> SIZE=25", "1 RCPT TO:<b@example.jp>", "1 DATA",
		"1 MAIL FROM:<taro@example.com> SIZE=25",
		"2 EHLO mail.example.com", "2 MAIL FROM:<taro@example.com> SIZE=25", "2 RCPT TO:<c@example.jp>", "2 DATA", "2 QUIT")
}

// A connection that died while it was kept costs nothing but a new one.
func TestReuseOfClosed(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{Script: func(ss *sinktest.Session, verb, _ string) string {
		if verb == "MAIL" && ss.Messages > 0 {
			return sinktest.Close
		}
		return ""
	}}, "192.0.2.1")
	c := w.client()
	k := c.Courier(Destination{Domain: "example.jp"})
	for range 3 {
		want(t, k.Deliver(t.Context(), message(hello, "a@example.jp")), "delivered 2.0.0 mx.example.jp")
	}
	k.Close()
	if n, _ := s.Sessions(); n != 3 || len(s.Messages()) != 3 {
		t.Errorf("%d sessions, %d messages", n, len(s.Messages()))
	}
}

func TestConnectionIsGivenUp(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{}, "192.0.2.1")
	c := w.client()
	k := c.Courier(Destination{Domain: "example.jp"})
	for range maxMessages + 1 {
		want(t, k.Deliver(t.Context(), message(hello, "a@example.jp")), "delivered 2.0.0 mx.example.jp")
	}
	k.Close()
	if n, _ := s.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestManyRecipients(t *testing.T) {
	var to []string
	for i := range 250 {
		to = append(to, strconv.Itoa(i)+"@example.jp")
	}
	for name, most := range map[string]int{"any": 1000, "40 at once": 40, "one at once": 1} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, oneHost())
			s := w.host(sinktest.Config{Script: func(ss *sinktest.Session, verb, _ string) string {
				if verb == "RCPT" && len(ss.To) == most {
					return "452 4.5.3 Too many recipients"
				}
				return ""
			}}, "192.0.2.1")
			got := send(t, w.client(), hello, to...)
			seen := map[string]int{}
			for _, m := range s.Messages() {
				if len(m.To) > min(most, maxRcpts) {
					t.Errorf("%d recipients at once", len(m.To))
				}
				for _, a := range m.To {
					seen[strings.Trim(a, "<>")]++
				}
			}
			for i, a := range to {
				if got[i].Outcome != Delivered || seen[a] != 1 {
					t.Fatalf("%s: %+v, delivered %d times", a, got[i], seen[a])
				}
			}
		})
	}
}

// A host that ends the session after some recipients gets the others over a
// new connection, nobody twice.
func TestSessionEndsBetweenTransactions(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{Script: func(ss *sinktest.Session, verb, _ string) string {
		switch {
		case verb == "RCPT" && len(ss.To) == 2:
			return "452 4.5.3 Too many recipients"
		case verb == "MAIL" && ss.Messages == 1:
			return "CLOSE 421 4.3.2 Bye"
		}
		return ""
	}}, "192.0.2.1")
	want(t, send(t, w.client(), hello, "a@example.jp", "b@example.jp", "c@example.jp", "d@example.jp", "e@example.jp"),
		slices.Repeat([]string{"delivered 2.0.0 mx.example.jp"}, 5)...)
	if n, _ := s.Sessions(); n != 3 || len(s.Messages()) != 3 {
		t.Errorf("%d sessions, %d messages", n, len(s.Messages()))
	}
}

// RFC 2920 3.1: the host may say 354 although it took no recipient.
func TestPipelinedDataWithoutRecipients(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{Script: func(ss *sinktest.Session, verb, arg string) string {
		switch {
		case verb == "RCPT" && strings.Contains(arg, "gone"):
			return "550 5.1.1 Unknown"
		case verb == "DATA":
			return "354 Go on"
		case verb == "END" && len(ss.To) == 0:
			return "554 5.5.1 No recipients"
		}
		return ""
	}}, "192.0.2.1")
	c := w.client()
	k := c.Courier(Destination{Domain: "example.jp"})
	defer k.Close()
	want(t, k.Deliver(t.Context(), message(hello, "gone@example.jp")), "failed 5.1.1 mx.example.jp")
	want(t, k.Deliver(t.Context(), message(hello, "a@example.jp")), "delivered 2.0.0 mx.example.jp")
	if n, _ := s.Sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}
