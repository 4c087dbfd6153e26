// Package reach tries whether a TCP port of another machine answers, and, when
// what it says tells the time, what time it is there. It says nothing to mail
// servers but goodbye, and asks web servers for the head of one page.
package reach

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/tlscert"
)

// Try is how one try ended.
type Try struct {
	Addr    string
	Outcome string // word of package dial; empty: the port answers
	Err     error
	Took    time.Duration // to connect
	Words   string        // the greeting, without line ends; foreign text
	Theirs  time.Time     // the clock over there; zero when nothing told
	Ours    time.Time     // the clock here at that moment
}

// talk is how long an answer is waited for that is a gift: the port counts as
// reached already.
const talk = 2 * time.Second

// Port connects to addr and closes again.
func Port(ctx context.Context, d dial.Dialer, addr string, timeout time.Duration) Try {
	t := Try{Addr: addr}
	dctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	c, err := d.DialContext(dctx, "tcp", addr)
	t.Took = time.Since(began)
	if err != nil {
		t.Err, t.Outcome = err, dial.Outcome(err)
		return t
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(min(timeout, talk)))
	_, port, _ := net.SplitHostPort(addr)
	switch port {
	case "443":
		t.Theirs = webDate(c)
	default:
		line, _ := bufio.NewReaderSize(c, 1024).ReadString('\n') // silence is an answer, too
		t.Words = strings.TrimRight(line, "\r\n")
		t.Theirs = dateIn(t.Words)
		_, _ = c.Write([]byte("QUIT\r\n"))
	}
	t.Ours = time.Now()
	return t
}

// greetingDate is how Exim, sendmail and others end their greetings.
var greetingDate = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), +\d{1,2} +[A-Z][a-z]{2} +\d{4} +\d\d:\d\d:\d\d +(?:[+-]\d{4}|GMT|UTC)`)
})

// dateIn is the date in a greeting; zero when there is none.
func dateIn(words string) time.Time {
	t, err := mail.ParseDate(strings.Join(strings.Fields(greetingDate().FindString(words)), " "))
	if err != nil {
		return time.Time{}
	}
	return t
}

// webDate is what a web server says in its Date field (RFC 9110 6.6.1).
func webDate(c net.Conn) time.Time {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	tc := tls.Client(c, tlscert.MeasuringConfig(host))
	if _, err := tc.Write([]byte("HEAD / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")); err != nil {
		return time.Time{}
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(tc, 4096), &http.Request{Method: http.MethodHead})
	if err != nil {
		return time.Time{}
	}
	defer resp.Body.Close()
	t, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t
}
