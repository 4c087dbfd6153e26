// Package talk judges one conversation with one mail server: which stage
// failed, how, what the server said, and whether another port or TLS mode works
// instead. The measuring clients of the probes hold the conversation.
package talk

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/explain"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
	"mailsrv/probes/smtp"
)

// Protocols that can be spoken.
const (
	SMTP       = "smtp"
	Submission = "submission"
	POP3       = "pop3"
	IMAP       = "imap"
)

// Protocols are those that can be spoken.
var Protocols = []string{SMTP, Submission, POP3, IMAP}

// TLS modes.
const (
	Auto     = "auto"     // by port number; on other ports plain, STARTTLS where offered
	None     = "none"     // never
	StartTLS = "starttls" // must
	Implicit = "implicit" // from the first octet
)

// Options say what to talk about. Protocol and Host are required.
type Options struct {
	Protocol       string
	Host           string // name or address
	Port           int    // 0: the protocol's usual one
	TLS            string // a TLS mode; empty: Auto
	User, Password string // log in
	AskUser        string // pop3: say USER with this name and no password, when User is empty
	From, To       string // smtp, submission: up to the reply of RCPT
	Send           bool   // smtp, submission: really send a message from From to To
	Retr           int    // pop3, imap: fetch this message; 0: none
	Throughput     bool   // measure how fast the message of Send or Retr goes
	Name           string // the name the certificate must carry; empty: Host
	RootCAs        *x509.CertPool
	Resolver       string        // addr:port; empty: the system's way of finding names
	Timeout        time.Duration // of each step; 0: 10 s
	StopAfter      string        // the last stage to go through
	Alternatives   []Alternative // tried when it fails; nil: the usual ones
	NoAlternatives bool
	Dialer         dial.Dialer // nil: dial.System
	Now            time.Time   // zero: now
}

// Report is the document of probe.
type Report struct {
	Target       Target              `json:"target"`
	Stages       []Stage             `json:"stages"`
	Transcript   []smtp.Line         `json:"transcript"`
	Software     *Software           `json:"software,omitempty"`
	Capabilities []string            `json:"capabilities,omitempty"`
	TLS          *smtp.TLS           `json:"tls,omitempty"`
	Alternatives []Alternative       `json:"alternatives,omitempty"`
	Throughput   *Throughput         `json:"throughput,omitempty"`
	Findings     []diag.Finding      `json:"findings"`
	Diagnosis    []explain.Diagnosis `json:"diagnosis"`
	Summary      diag.Summary        `json:"summary"`

	failure  *failure
	greeting string
}

// Target is what was talked to.
type Target struct {
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	Address  string `json:"address,omitempty"`
	Port     int    `json:"port"`
	TLS      string `json:"tls"`
}

// Stage is one step of the conversation.
type Stage struct {
	Stage  string      `json:"stage"`
	Status diag.Status `json:"status"`
	Ms     float64     `json:"ms"`
	Detail string      `json:"detail,omitempty"`
}

// Alternative is another way to reach the server.
type Alternative struct {
	Port    int         `json:"port"`
	TLS     string      `json:"tls"`
	Status  diag.Status `json:"status"`
	Outcome string      `json:"outcome,omitempty"`
}

// Throughput is how fast a message went over the line.
type Throughput struct {
	Octets int64   `json:"octets"`
	Ms     float64 `json:"ms"`
	KbitS  float64 `json:"kbit_s"`
}

// failure is the first stage that failed.
type failure struct {
	stage, outcome string
	reply          string // the server's words
	err            error
	mechanisms     []string // auth: what the server offers, when we speak none of it
}

// StagesOf lists the stages of a protocol in order.
func StagesOf(protocol string) []string {
	all := []string{smtp.StageName, smtp.StageTCP, smtp.StageTLS, smtp.StageGreeting, smtp.StageCapabilities, smtp.StageStartTLS, smtp.StageAuth}
	if protocol == POP3 || protocol == IMAP {
		return append(all, "list", "retr", smtp.StageQuit)
	}
	return append(all, smtp.StageMail, smtp.StageRcpt, smtp.StageData, smtp.StageQuit)
}

var usualPorts = map[string]int{SMTP: 25, Submission: 587, POP3: 110, IMAP: 143}

var implicitPorts = []int{465, 993, 995}

// Run talks and judges.
func Run(ctx context.Context, opt Options) *Report {
	if opt.Port == 0 {
		opt.Port = usualPorts[opt.Protocol]
	}
	if opt.TLS == "" {
		opt.TLS = Auto
	}
	if opt.Timeout <= 0 {
		opt.Timeout = smtp.DefaultTimeout
	}
	if opt.Dialer == nil {
		opt.Dialer = dial.System
	}
	if opt.Now.IsZero() {
		opt.Now = time.Now()
	}
	r := &Report{
		Target: Target{Protocol: opt.Protocol, Host: opt.Host, Port: opt.Port, TLS: opt.TLS},
		Stages: []Stage{}, Transcript: []smtp.Line{}, Diagnosis: []explain.Diagnosis{},
	}
	s := &steps{r: r, opt: opt}
	addrs := s.name(ctx)
	switch opt.Protocol {
	case POP3:
		s.pop3(ctx, addrs)
	case IMAP:
		s.imap(ctx, addrs)
	default:
		s.smtp(ctx, addrs)
	}
	if f := r.failure; f != nil && !opt.NoAlternatives && len(addrs) > 0 && elsewhereMayWork(f) {
		r.Alternatives = alternatives(ctx, opt, addrs[0], f)
	}
	r.judge(ctx, opt, addrs)
	return r
}

// Localize fills in the texts of findings and diagnosis.
func (r *Report) Localize(lang codes.Lang) error {
	r.Diagnosis = r.diagnose(lang)
	return diag.Localize(r.Findings, lang)
}

// steps walks through the stages and notes how each went.
type steps struct {
	r    *Report
	opt  Options
	stop bool // StopAfter has been reached
}

// do runs one stage, unless one before it failed. The detail is for people; a
// warning is a stage that worked, but not as it should.
func (s *steps) do(stage string, run func() (detail string, warn bool, err error)) {
	s.timed(stage, func() (time.Duration, string, bool, error) {
		began := time.Now()
		detail, warn, err := run()
		return time.Since(began), detail, warn, err
	})
}

func (s *steps) timed(stage string, run func() (took time.Duration, detail string, warn bool, err error)) {
	if s.stop && stage != smtp.StageQuit {
		return
	}
	if s.r.failure != nil {
		s.r.Stages = append(s.r.Stages, Stage{Stage: stage, Status: diag.Skip})
		return
	}
	took, detail, warn, err := run()
	st := Stage{Stage: stage, Status: diag.OK, Ms: float64(took.Microseconds()) / 1000, Detail: detail}
	switch {
	case err != nil:
		st.Status = diag.Fail
		s.r.failure = failureOf(stage, err)
		if st.Detail == "" {
			st.Detail = s.r.failure.words()
		}
	case warn:
		st.Status = diag.Warn
	}
	s.r.Stages = append(s.r.Stages, st)
	s.stop = s.stop || stage == s.opt.StopAfter
}

// words are what the server said, or else what the system did.
func (f *failure) words() string {
	if f.reply != "" {
		return f.reply
	}
	if f.err != nil {
		return dial.Describe(f.outcome, f.err)
	}
	return f.outcome
}

// name finds the addresses of the host.
func (s *steps) name(ctx context.Context) (addrs []netip.Addr) {
	s.do(smtp.StageName, func() (string, bool, error) {
		if a, err := netip.ParseAddr(s.opt.Host); err == nil {
			addrs = []netip.Addr{a.Unmap()}
			return "", false, nil
		}
		var err error
		addrs, err = s.lookup(ctx)
		if err != nil {
			return "", false, err
		}
		var list string
		for i, a := range addrs {
			if i > 0 {
				list += ", "
			}
			list += a.String()
		}
		return list, false, nil
	})
	const most = 4
	return addrs[:min(len(addrs), most)]
}

func (s *steps) lookup(ctx context.Context) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	if s.opt.Resolver == "" {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.opt.Host)
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		if servers, serr := dns.SystemServers(); dial.Outcome(err) == dial.NXDomain && serr == nil && len(servers) > 0 {
			client := &dns.Client{Servers: servers, Timeout: s.opt.Timeout}
			defer client.Close()
			if !knowsRoot(ctx, client) {
				err = lookupError{name: s.opt.Host, isolated: servers[0]}
			}
		}
		return addrs, err
	}
	client := &dns.Client{Servers: []string{s.opt.Resolver}, Timeout: s.opt.Timeout}
	defer client.Close()
	var addrs []netip.Addr
	var worst *dns.Answer
	for _, t := range []dns.Type{dns.A, dns.AAAA} {
		a := client.Lookup(ctx, s.opt.Host, t)
		for _, rec := range a.Records {
			addrs = append(addrs, rec.Addr)
		}
		if worst == nil || worst.Outcome.Found() {
			worst = a
		}
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	e := lookupError{outcome: worst.Outcome, name: s.opt.Host}
	if e.Outcome() == dial.NXDomain && !knowsRoot(ctx, client) {
		e.isolated = s.opt.Resolver
	}
	return nil, e
}

// knowsRoot tells whether a resolver reaches the DNS at all. Those of closed
// networks and of hotels say of every name that it does not exist, which says
// nothing about the name.
func knowsRoot(ctx context.Context, client *dns.Client) bool {
	return client.Lookup(ctx, ".", dns.NS).Outcome == dns.Answered
}

// lookupError is a name that led nowhere.
type lookupError struct {
	outcome  dns.Outcome
	name     string
	isolated string // a resolver that has no way to the DNS
}

func (e lookupError) Error() string {
	if e.isolated != "" {
		return "the resolver " + e.isolated + " does not even know the root of the DNS"
	}
	return string(e.outcome)
}

// Outcome is the word of the documents for it.
func (e lookupError) Outcome() string {
	if e.isolated != "" {
		return dial.ServFail
	}
	switch e.outcome {
	case dns.NXDomain, dns.NoData:
		return dial.NXDomain
	case dns.Timeout:
		return dial.Timeout
	}
	return dial.ServFail
}

// implicit tells whether TLS comes first.
func (o Options) implicit() bool {
	return o.TLS == Implicit || o.TLS == Auto && slices.Contains(implicitPorts, o.Port)
}

// certName is the name the certificate must carry; a bare address without
// --name asks for none.
func (o Options) certName() string {
	if o.Name != "" {
		return o.Name
	}
	if _, err := netip.ParseAddr(o.Host); err == nil {
		return ""
	}
	return o.Host
}

func hostPort(a netip.Addr, port int) string { return net.JoinHostPort(a.String(), strconv.Itoa(port)) }

// stopwatch is a dialer that notes when the connection stood.
type stopwatch struct {
	dial.Dialer
	connected time.Time
}

func (w *stopwatch) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := w.Dialer.DialContext(ctx, network, addr)
	w.connected = time.Now()
	return c, err
}
