// Package https fetches one small file from a host whose addresses are already
// known, and tells which step failed. It follows no redirect, since what it is
// for (MTA-STS policies, RFC 8461) forbids that.
package https

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/tlscert"
)

// MaxBody is how much of a file is read, octets.
const MaxBody = 64 << 10

// Options say how to fetch.
type Options struct {
	Dialer  dial.Dialer    // nil: dial.System
	Addrs   []netip.Addr   // of the host; tried in order
	Port    int            // 0: 443
	Timeout time.Duration  // of each step; 0: 10 s
	RootCAs *x509.CertPool // nil: the system's
	Now     time.Time      // certificates are judged at; zero: now
}

// Result is how a fetch ended.
type Result struct {
	Stage       string // the step that failed: "tcp", "tls", "http"; empty when an answer came
	Outcome     string // how it failed: see dial.Outcome
	Err         error
	Addr        string // the address that was used last
	Cert        *tlscert.Facts
	Status      int
	Location    string // of a redirect
	ContentType string
	Body        []byte
	TooLong     bool // there was more than MaxBody
}

// Get fetches https://host/path.
func Get(ctx context.Context, host, path string, opt Options) *Result {
	if opt.Dialer == nil {
		opt.Dialer = dial.System
	}
	if opt.Timeout <= 0 {
		opt.Timeout = 10 * time.Second
	}
	if opt.Port == 0 {
		opt.Port = 443
	}
	if opt.Now.IsZero() {
		opt.Now = time.Now()
	}
	r := &Result{Stage: "tcp", Outcome: dial.Unreachable, Err: errors.New("no address")}
	for _, a := range opt.Addrs {
		r = get(ctx, host, path, netip.AddrPortFrom(a, uint16(opt.Port)).String(), opt)
		if r.Stage != "tcp" || ctx.Err() != nil {
			break
		}
	}
	return r
}

func get(ctx context.Context, host, path, addr string, opt Options) *Result {
	r := &Result{Addr: addr}
	failed := func(stage string, err error) *Result {
		r.Stage, r.Outcome, r.Err = stage, dial.Outcome(err), err
		return r
	}
	dctx, cancel := context.WithTimeout(ctx, opt.Timeout)
	defer cancel()
	conn, err := opt.Dialer.DialContext(dctx, "tcp", addr)
	if err != nil {
		return failed("tcp", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	_ = conn.SetDeadline(time.Now().Add(opt.Timeout))
	cfg := tlscert.MeasuringConfig(host)
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(dctx); err != nil {
		return failed("tls", err)
	}
	cert := tlscert.Inspect(tc.ConnectionState().PeerCertificates, host, opt.RootCAs, opt.Now)
	r.Cert = &cert

	_ = conn.SetDeadline(time.Now().Add(opt.Timeout))
	return r.exchange(ctx, tc, host, path, failed)
}

func (r *Result) exchange(ctx context.Context, conn net.Conn, host, path string, failed func(string, error) *Result) *Result {
	used := false
	tr := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			if used {
				return nil, net.ErrClosed
			}
			used = true
			return conn, nil
		},
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+path, nil)
	if err != nil {
		return failed("http", err)
	}
	req.Header.Set("User-Agent", "mailsrv")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return failed("http", err)
	}
	defer resp.Body.Close()
	r.Status, r.Location, r.ContentType = resp.StatusCode, resp.Header.Get("Location"), resp.Header.Get("Content-Type")
	if r.Body, err = io.ReadAll(io.LimitReader(resp.Body, MaxBody+1)); err != nil {
		return failed("http", err)
	}
	if r.TooLong = len(r.Body) > MaxBody; r.TooLong {
		r.Body = r.Body[:MaxBody]
	}
	return r
}
