package deliver

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// session is one connection to one host, after EHLO.
type session struct {
	c     *Client
	smart *SmartHost
	at    at
	raw   net.Conn // TCP
	nc    net.Conn // raw, or TLS over it
	r     *bufio.Reader
	w     *bufio.Writer
	ext   map[string]string // extensions in upper case, with their parameters; nil after HELO
	free  func()            // gives back the connection's slot
	used  int               // messages that went over it
	dirty bool              // a transaction is open: RSET first
	dead  bool
}

// open connects to t and gets as far as a host that takes MAIL. Where TLS
// fails that nobody demands, it connects again without.
//
// other is an address of the same host in the other family, if there is one: it
// is used when t's does not answer soon.
func (c *Client) open(ctx context.Context, t target, other netip.AddrPort, smart *SmartHost) (*session, *Result) {
	s, fault := c.connect(ctx, t, other, smart, true)
	if fault != nil && fault.retryPlain {
		tlsFault := fault.result.Text
		t.addr = fault.result.Addr // the one that answered
		if s, fault = c.connect(ctx, t, netip.AddrPort{}, smart, false); s != nil {
			s.at.tlsFault = tlsFault
		}
	}
	if fault != nil {
		return nil, &fault.result
	}
	return s, nil
}

// openFault is why a session did not come about.
type openFault struct {
	result     Result
	retryPlain bool
}

func (c *Client) connect(ctx context.Context, t target, other netip.AddrPort, smart *SmartHost, useTLS bool) (_ *session, fault *openFault) {
	var err error
	s := &session{c: c, smart: smart, at: at{host: t.name, addr: t.addr}, free: func() {}}
	if smart == nil { // the queue has one destination per smart host
		wctx, cancel := context.WithTimeout(ctx, c.Timeouts.Slot)
		s.free, err = c.slots.take(wctx, t.addr.Addr(), c.PerHost)
		cancel()
		if err != nil {
			return nil, &openFault{result: s.at.crowded(ctx)}
		}
	}
	nc, err := s.dial(ctx, other)
	if err != nil {
		s.free()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &openFault{result: s.at.connecting(err)}
	}
	s.raw = nc
	s.use(nc)
	stop := s.watch(ctx)
	defer func() {
		stop()
		if fault != nil {
			s.drop()
		}
	}()
	if s.implicitTLS() {
		if err := s.handshake(); err != nil {
			return nil, &openFault{result: s.at.tlsFailed(err)}
		}
	}
	greeting, err := s.read(c.Timeouts.Greeting)
	if err != nil {
		return nil, &openFault{result: s.at.talking("CONN", "while waiting for the greeting", err)}
	}
	if !greeting.ok() {
		return nil, &openFault{result: s.at.replied("CONN", greeting)}
	}
	if r := s.hello(); r != nil {
		return nil, &openFault{result: *r}
	}
	if _, offered := s.ext["STARTTLS"]; offered && useTLS && s.at.tls == "" {
		if fault := s.startTLS(); fault != nil {
			return nil, fault
		}
	}
	if r := s.login(); r != nil {
		return nil, &openFault{result: *r}
	}
	return s, nil
}

// use puts the session on a connection.
func (s *session) use(nc net.Conn) {
	s.nc = nc
	s.r = bufio.NewReaderSize(nc, 4<<10)
	s.w = bufio.NewWriterSize(blockWriter{s}, 16<<10)
}

// blockWriter gives each write its own time.
type blockWriter struct{ s *session }

func (b blockWriter) Write(p []byte) (int, error) {
	if err := b.s.nc.SetWriteDeadline(time.Now().Add(b.s.c.Timeouts.Block)); err != nil {
		return 0, err
	}
	return b.s.nc.Write(p)
}

// watch closes the connection when ctx ends before stop is called.
func (s *session) watch(ctx context.Context) (stop func()) {
	done := context.AfterFunc(ctx, func() { _ = s.raw.Close() })
	return func() { done() }
}

// drop ends the connection without a word.
func (s *session) drop() {
	s.dead = true
	_ = s.nc.Close()
	s.free()
}

// quit takes leave.
func (s *session) quit() {
	if !s.dead {
		if s.put("QUIT") == nil {
			_, _ = s.read(s.c.Timeouts.Quit)
		}
		s.drop()
	}
}

// read reads one reply, all of which has to come within limit.
func (s *session) read(limit time.Duration) (reply, error) {
	if err := s.w.Flush(); err != nil {
		return reply{}, err
	}
	if err := s.nc.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return reply{}, err
	}
	return readReply(s.r)
}

// put writes a command; read sends it.
func (s *session) put(line string) error {
	_, err := s.w.WriteString(line + "\r\n")
	return err
}

func (s *session) ask(line string) (reply, error) {
	if err := s.put(line); err != nil {
		return reply{}, err
	}
	return s.read(s.c.Timeouts.Command)
}

// hello says EHLO, or HELO to a host that knows no better.
func (s *session) hello() *Result {
	fail := func(command string, err error) *Result {
		r := s.at.talking("EHLO", "while sending "+command, err)
		return &r
	}
	r, err := s.ask("EHLO " + s.c.Hostname)
	if err != nil {
		return fail("EHLO", err)
	}
	s.ext = nil
	if r.ok() {
		s.ext = map[string]string{}
		for _, line := range r.lines[1:] {
			word, params, _ := strings.Cut(line, " ")
			// Some hosts write "AUTH=PLAIN".
			word, more, _ := strings.Cut(word, "=")
			word = strings.ToUpper(word)
			s.ext[word] = strings.TrimSpace(s.ext[word] + " " + more + " " + params)
		}
	} else if r.code/100 == 5 {
		if r, err = s.ask("HELO " + s.c.Hostname); err != nil {
			return fail("HELO", err)
		}
	}
	if !r.ok() {
		fault := s.at.replied("EHLO", r)
		return &fault
	}
	name, _, _ := strings.Cut(r.lines[0], " ")
	if strings.EqualFold(name, s.c.Hostname) && s.c.Hostname != "localhost" {
		fault := s.at.result(Result{Outcome: Failed, Enhanced: "5.4.6", Command: "EHLO", Cause: causeLoop,
			Text: fmt.Sprintf("mail loops back to myself: %s is this server", s.at)})
		return &fault
	}
	return nil
}

// startTLS encrypts the connection.
func (s *session) startTLS() *openFault {
	must := s.mustTLS()
	r, err := s.ask("STARTTLS")
	if err != nil {
		return &openFault{result: s.at.talking("STARTTLS", "while sending STARTTLS", err), retryPlain: !must}
	}
	if r.code != 220 {
		if must {
			return &openFault{result: s.at.replied("STARTTLS", r)}
		}
		s.at.tlsFault = r.String()
		return nil
	}
	if s.r.Buffered() > 0 {
		// Somebody on the way has put octets in front of the encrypted ones.
		err = errors.New("text follows the reply to STARTTLS in the clear")
	} else {
		err = s.handshake()
	}
	if err != nil {
		return &openFault{result: s.at.tlsFailed(err), retryPlain: !must}
	}
	if r := s.hello(); r != nil {
		// With TLS 1.3 a host that does not like the handshake says so only now.
		return &openFault{result: *r, retryPlain: !must && r.Code == 0 && r.Cause != causeLoop}
	}
	return nil
}

// mustTLS: credentials do not go over the network in the clear.
func (s *session) mustTLS() bool {
	return s.smart != nil && s.smart.Username != "" && !s.at.addr.Addr().IsLoopback()
}

// implicitTLS: RFC 8314 3.3.
func (s *session) implicitTLS() bool { return s.smart != nil && s.smart.Port == 465 }

func (s *session) handshake() error {
	cfg := s.c.TLS.Clone()
	cfg.ServerName = s.at.host
	if !s.mustTLS() && !s.implicitTLS() || s.at.addr.Addr().IsLoopback() {
		// Without a check the message is still safe from those who only
		// listen; the alternative is no encryption at all.
		cfg.InsecureSkipVerify = true
		cfg.MinVersion = tls.VersionTLS10
	}
	tc := tls.Client(s.nc, cfg)
	if err := s.nc.SetDeadline(time.Now().Add(s.c.Timeouts.Connect)); err != nil {
		return err
	}
	if err := tc.Handshake(); err != nil {
		return err
	}
	if err := s.nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	s.use(tc)
	s.at.tls = tls.VersionName(tc.ConnectionState().Version)
	return nil
}

// login authenticates at a smart host with credentials.
func (s *session) login() *Result {
	fail := func(r Result) *Result { r = s.at.result(r); return &r }
	if s.at.tls == "" && s.mustTLS() {
		return fail(Result{Outcome: Deferred, Enhanced: "4.7.0", Command: "STARTTLS", Cause: causeTLS,
			Text: fmt.Sprintf("TLS is required, but was not offered by host %s: without it no credentials are sent", s.at)})
	}
	if s.smart == nil || s.smart.Username == "" {
		return nil
	}
	offered := strings.Fields(strings.ToUpper(s.ext["AUTH"]))
	has := func(mechanism string) bool {
		for _, o := range offered {
			if o == mechanism {
				return true
			}
		}
		return false
	}
	var r reply
	var err error
	switch b64 := base64.StdEncoding.EncodeToString; {
	case has("PLAIN"): // RFC 4616
		r, err = s.ask("AUTH PLAIN " + b64([]byte("\x00"+s.smart.Username+"\x00"+s.smart.Password)))
	case has("LOGIN"):
		for _, line := range []string{"AUTH LOGIN", b64([]byte(s.smart.Username)), b64([]byte(s.smart.Password))} {
			if r, err = s.ask(line); err != nil || r.code != 334 {
				break
			}
		}
	default:
		what := "it offers none at all"
		if len(offered) > 0 {
			what = "it offers " + clean(strings.Join(offered, " "))
		}
		return fail(Result{Outcome: Deferred, Enhanced: "4.7.0", Command: "AUTH", Cause: causeAuthMethod,
			Text: fmt.Sprintf("cannot log in at %s, no mechanism available: %s; PLAIN or LOGIN is needed", s.at, what)})
	}
	if err != nil {
		return fail(s.at.talking("AUTH", "while logging in", err))
	}
	if r.code != 235 {
		fault := s.at.replied("AUTH", r)
		fault.Outcome = Deferred
		if r.code/100 == 5 {
			fault.Cause = causeAuthFailed
		}
		return fail(fault)
	}
	return nil
}

// maxSize is the limit a host announced, 0 when it has none (RFC 1870).
func (s *session) maxSize() int64 {
	n, err := strconv.ParseInt(s.ext["SIZE"], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (s *session) has(extension string) bool {
	_, ok := s.ext[extension]
	return ok
}
