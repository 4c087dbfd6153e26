// Package dnstest runs name servers on loopback for tests: the zone is text,
// and so is every way in which a server can misbehave.
//
//	srv := dnstest.New(t, `
//	example.test.     MX 10 mx.example.test.
//	mx.example.test.  A 192.0.2.1
//	!servfail example.test. TXT
//	`)
//	client := &dns.Client{Servers: []string{srv.Addr}}
//
// Lines are zone-file lines with absolute names (default TTL 3600), or begin
// with "!" and say how to behave:
//
//	!servfail NAME [TYPE]       answer SERVFAIL
//	!refuse NAME [TYPE]         answer REFUSED
//	!nxdomain NAME [TYPE]       deny the name
//	!formerr NAME [TYPE]        FORMERR to questions with EDNS
//	!silent NAME [TYPE]         say nothing
//	!garbage NAME [TYPE]        answer octets that are no DNS message
//	!truncate NAME [TYPE]       cut over UDP; TCP works
//	!cut NAME [TYPE]            cut over UDP; TCP closes
//	!delay DURATION NAME [TYPE] answer late
//	!invent ADDR NAME           answer this address to every question for an A record
//	!bogus NAME                 SERVFAIL with EDE 6, unless checking is disabled
//	!signed NAME                set AD
//	!authoritative ZONE         answer with AA for this zone, refer below its cuts, refuse the rest
//
// A NAME ".example.test." means that name and all below it; "." is everything.
// Without !authoritative the server answers as a resolver does: it follows
// CNAMEs and sets RA.
package dnstest

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
)

// Server is a running name server.
type Server struct {
	Addr string // 127.0.0.1:port, UDP and TCP

	mu      sync.Mutex
	world   *world
	queries []string
	asked   func(query string)

	udp, tcp *mdns.Server
	done     sync.WaitGroup
}

// TB is what New needs of a *testing.T, so that programs can use this package
// without package testing.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// New starts a server that stops with the test.
func New(t TB, script string) *Server {
	t.Helper()
	s, err := Start(script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a server on a free port of 127.0.0.1.
func Start(script string) (*Server, error) { return StartAt("127.0.0.1:0", script, nil) }

// StartAt starts a server on that address; port 0 is a free one. Asked, unless
// nil, is told every question in the form of Queries, which then keeps none.
func StartAt(addr, script string, asked func(query string)) (*Server, error) {
	w, err := parse(script)
	if err != nil {
		return nil, err
	}
	pc, l, err := listen(addr)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: pc.LocalAddr().String(), world: w, asked: asked}
	h := mdns.HandlerFunc(s.serve)
	ready := make(chan struct{}, 2)
	started := func() { ready <- struct{}{} }
	s.udp = &mdns.Server{PacketConn: pc, Handler: h, NotifyStartedFunc: started}
	s.tcp = &mdns.Server{Listener: l, Handler: h, NotifyStartedFunc: started}
	for _, srv := range []*mdns.Server{s.udp, s.tcp} {
		s.done.Go(func() { _ = srv.ActivateAndServe() })
	}
	<-ready
	<-ready
	return s, nil
}

// listen opens a port for both UDP and TCP.
func listen(addr string) (net.PacketConn, net.Listener, error) {
	family := "" // to package net, 0.0.0.0 without one means IPv6 as well
	if ap, err := netip.ParseAddrPort(addr); err == nil && ap.Addr().Is4() {
		family = "4"
	}
	var last error
	for range 20 { // with port 0, the one found for UDP may be taken for TCP
		pc, err := net.ListenPacket("udp"+family, addr)
		if err != nil {
			return nil, nil, err
		}
		l, err := net.Listen("tcp"+family, pc.LocalAddr().String())
		if err == nil {
			return pc, l, nil
		}
		_ = pc.Close()
		last = err
	}
	return nil, nil, last
}

// Close stops the server.
func (s *Server) Close() {
	_ = s.udp.Shutdown()
	_ = s.tcp.Shutdown()
	s.done.Wait()
}

// Set gives the server another script.
func (s *Server) Set(script string) error {
	w, err := parse(script)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.world = w
	s.mu.Unlock()
	return nil
}

// Queries lists the questions asked so far: "example.test. MX udp".
func (s *Server) Queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.queries...)
}

func (s *Server) serve(w mdns.ResponseWriter, m *mdns.Msg) {
	if len(m.Question) != 1 {
		return
	}
	network := w.LocalAddr().Network()
	q := m.Question[0]
	s.mu.Lock()
	query := fmt.Sprintf("%s %s %s", strings.ToLower(q.Name), mdns.TypeToString[q.Qtype], network)
	if s.asked == nil {
		s.queries = append(s.queries, query)
	}
	world := s.world
	s.mu.Unlock()
	if s.asked != nil {
		s.asked(query)
	}

	reply := new(mdns.Msg)
	reply.SetReply(m)
	r := world.rule(q)
	time.Sleep(r.delay) // the script asks for it
	edns := m.IsEdns0()
	switch {
	case r.act == "silent":
		return
	case r.act == "garbage":
		_, _ = w.Write([]byte{byte(m.Id >> 8), byte(m.Id), 0x80, 0, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7})
		return
	case r.act == "servfail":
		reply.Rcode = mdns.RcodeServerFailure
	case r.act == "refuse":
		reply.Rcode = mdns.RcodeRefused
	case r.act == "nxdomain":
		reply.Rcode = mdns.RcodeNameError
	case r.act == "formerr" && edns != nil:
		reply.Rcode = mdns.RcodeFormatError
		_ = w.WriteMsg(reply)
		return
	case (r.act == "truncate" || r.act == "cut") && network == "udp":
		reply.Truncated = true
	case r.act == "cut":
		_ = w.Close()
		return
	case r.act == "invent" && q.Qtype == mdns.TypeA:
		reply.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: q.Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}, A: r.addr}}
	case r.bogus && !m.CheckingDisabled:
		reply.Rcode = mdns.RcodeServerFailure
		if edns != nil {
			reply.SetEdns0(1232, false)
			reply.IsEdns0().Option = append(reply.IsEdns0().Option, &mdns.EDNS0_EDE{InfoCode: mdns.ExtendedErrorCodeDNSBogus})
		}
	default:
		world.answer(reply, q)
		reply.AuthenticatedData = r.signed && !r.bogus
	}
	size := mdns.MinMsgSize
	if edns != nil {
		if reply.IsEdns0() == nil {
			reply.SetEdns0(1232, edns.Do())
		}
		size = int(edns.UDPSize())
	}
	if network == "udp" {
		reply.Truncate(size)
	}
	_ = w.WriteMsg(reply)
}
