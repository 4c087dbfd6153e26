package https_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailsrv/probes/dial"
	"mailsrv/probes/https"
	"mailsrv/probes/https/httpstest"
	"mailsrv/probes/tlscert/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGet(t *testing.T) {
	ca := certtest.NewCA()
	mux := func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "host.example.test" {
			t.Errorf("Host %q", r.Host)
		}
		switch r.URL.Path {
		case "/file":
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "content")
		case "/moved":
			http.Redirect(w, r, "https://elsewhere.test/", http.StatusFound)
		case "/long":
			fmt.Fprint(w, strings.Repeat("x", https.MaxBody+10))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "short")
		default:
			http.NotFound(w, r)
		}
	}
	addr := httpstest.New(t, ca.Issue(certtest.Leaf{Names: []string{"host.example.test"}}), mux)
	m, err := dial.ParseMap(strings.NewReader("192.0.2.1:443 refuse\n192.0.2.2:443 " + addr))
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string, addrs ...string) *https.Result {
		opt := https.Options{Dialer: m, Timeout: 5 * time.Second, RootCAs: ca.Pool()}
		for _, a := range addrs {
			opt.Addrs = append(opt.Addrs, netip.MustParseAddr(a))
		}
		return https.Get(context.Background(), "host.example.test", path, opt)
	}
	both := []string{"192.0.2.1", "192.0.2.2"}
	if r := get("/file", both...); r.Stage != "" || r.Status != 200 || string(r.Body) != "content" || r.ContentType != "text/plain" || !r.Cert.Verified || r.Addr != "192.0.2.2:443" {
		t.Errorf("%+v", r)
	}
	if r := get("/moved", both...); r.Status != 302 || r.Location != "https://elsewhere.test/" {
		t.Errorf("%+v", r)
	}
	if r := get("/none", both...); r.Status != 404 {
		t.Errorf("%+v", r)
	}
	if r := get("/long", both...); len(r.Body) != https.MaxBody || !r.TooLong {
		t.Errorf("%d octets", len(r.Body))
	}
	if r := get("/cut", both...); r.Stage != "http" || r.Outcome != "closed" {
		t.Errorf("%s %s %v", r.Stage, r.Outcome, r.Err)
	}
	if r := get("/file", "192.0.2.1"); r.Stage != "tcp" || r.Outcome != "refused" {
		t.Errorf("%+v", r)
	}
	if r := get("/file"); r.Stage != "tcp" || r.Outcome != "unreachable" {
		t.Errorf("%+v", r)
	}
}

func TestBadCertificateIsAFact(t *testing.T) {
	ca := certtest.NewCA()
	addr := httpstest.New(t, ca.Issue(certtest.Leaf{Names: []string{"other.test"}}), func(http.ResponseWriter, *http.Request) {})
	m, err := dial.ParseMap(strings.NewReader("192.0.2.1:443 " + addr))
	if err != nil {
		t.Fatal(err)
	}
	r := https.Get(context.Background(), "host.example.test", "/", https.Options{Dialer: m, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, RootCAs: ca.Pool()})
	if r.Stage != "" || r.Cert.Fault != "name" || r.Status != 200 {
		t.Errorf("%+v", r)
	}
}
