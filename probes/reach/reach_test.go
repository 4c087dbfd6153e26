package reach

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/smtp/smtptest"
)

func TestPort(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{Script: "greeting => 220 mx.example.com ESMTP Exim 4.98 Wed, 05 Mar 2025 10:20:30 +0900\n"})
	got := Port(context.Background(), dial.System, h.Addr, time.Second)
	want := time.Date(2025, 3, 5, 1, 20, 30, 0, time.UTC)
	if got.Outcome != "" || !got.Theirs.Equal(want) || time.Since(got.Ours) > time.Minute || !strings.HasPrefix(got.Words, "220 mx.example.com ") {
		t.Errorf("%+v", got)
	}

	silent := smtptest.New(t, smtptest.Config{Script: "greeting => silent\n"})
	got = Port(context.Background(), dial.System, silent.Addr, 50*time.Millisecond)
	if got.Outcome != "" || !got.Theirs.IsZero() || got.Words != "" {
		t.Errorf("%+v", got)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	got = Port(context.Background(), dial.System, l.Addr().String(), time.Second)
	if got.Outcome != dial.Refused || got.Err == nil {
		t.Errorf("%+v", got)
	}
}

// A web server in a lab stands behind the address 192.0.2.1:443.
func TestPortOfWebServer(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   time.Time
	}{
		{"HTTP/1.1 301 Moved\r\nDate: Wed, 05 Mar 2025 10:20:30 GMT\r\nContent-Length: 5\r\n\r\n", time.Date(2025, 3, 5, 10, 20, 30, 0, time.UTC)},
		{"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n", time.Time{}},
		{"220 this is mail\r\n", time.Time{}},
	} {
		addr := serveTLS(t, tt.answer)
		m, err := dial.ParseMap(strings.NewReader("192.0.2.1:443 " + addr))
		if err != nil {
			t.Fatal(err)
		}
		got := Port(context.Background(), m, "192.0.2.1:443", time.Second)
		if got.Outcome != "" || !got.Theirs.Equal(tt.want) {
			t.Errorf("%q: %+v", tt.answer, got)
		}
	}
}

func TestContextEnds(t *testing.T) {
	silent := smtptest.New(t, smtptest.Config{Script: "greeting => silent\n"})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	began := time.Now()
	Port(ctx, dial.System, silent.Addr, time.Minute)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func FuzzDateIn(f *testing.F) {
	f.Add("220 mx ESMTP Sendmail 8.17; Mon,  1 Jan 2024 00:00:00 GMT")
	f.Add("220 Mon, 99 Foo 2024 99:99:99 +9999")
	f.Fuzz(func(t *testing.T, s string) { dateIn(s) })
}
