package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	"mailsrv/probes/dial"
)

const (
	udpSize   = 1232 // EDNS buffer that no path fragments (DNS flag day 2020)
	maxChain  = 16   // CNAMEs followed within one answer
	firstWait = 0.4  // part of the limit after which the question is sent again
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 4096); return &b }}

// Query asks one server, addr:port. It never returns nil.
func (c *Client) Query(ctx context.Context, server string, q Question) *Answer {
	began := time.Now()
	a := &Answer{Name: Name(q.Name), Type: q.Type, Server: server, Outcome: Malformed}
	msg, err := question(q)
	if err != nil {
		a.Err = err
		return a
	}
	network := "udp"
	if q.TCP {
		network = "tcp"
	}
	reply, err := c.exchange(ctx, network, server, msg)
	if err == nil && reply.Truncated && !q.TCP && !q.NoTCP {
		a.TCP = true
		reply, err = c.exchange(ctx, "tcp", server, msg)
		if err != nil {
			a.Outcome, a.Err, a.RTT = TruncatedNoTCP, err, time.Since(began)
			return a
		}
	}
	if err == nil && !q.Plain && (reply.Rcode == mdns.RcodeFormatError || reply.Rcode == mdns.RcodeNotImplemented) {
		q.Plain = true // a server from before EDNS, RFC 6891 section 7
		return c.Query(ctx, server, q)
	}
	a.RTT = time.Since(began)
	if err != nil {
		a.Err = err
		a.Outcome = failure(err)
		return a
	}
	a.fill(reply)
	return a
}

func question(q Question) (*mdns.Msg, error) {
	name := mdns.Fqdn(q.Name)
	if _, ok := mdns.IsDomainName(name); !ok {
		return nil, fmt.Errorf("%q is no domain name", q.Name)
	}
	t, ok := mdns.StringToType[string(q.Type)]
	if !ok {
		return nil, fmt.Errorf("%q is no record type", q.Type)
	}
	m := new(mdns.Msg)
	m.Id = mdns.Id()
	m.RecursionDesired = q.Recurse
	m.CheckingDisabled = q.NoCheck
	m.AuthenticatedData = q.Recurse // we understand AD, RFC 6840 section 5.7
	m.Question = []mdns.Question{{Name: name, Qtype: t, Qclass: mdns.ClassINET}}
	if !q.Plain {
		m.SetEdns0(udpSize, q.DNSSEC)
	}
	return m, nil
}

// exchange sends a question and waits for its answer; over UDP it is sent twice.
func (c *Client) exchange(ctx context.Context, network, server string, m *mdns.Msg) (*mdns.Msg, error) {
	limit := c.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	end := time.Now().Add(limit)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	dctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	conn, err := c.conn(dctx, network, server)
	if err != nil {
		return nil, err
	}
	good := false
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if stop() && good && c.keep(network, server, conn) {
			return
		}
		_ = conn.Close()
	}()

	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	out, err := m.PackBuffer((*buf)[2:])
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		_ = conn.SetDeadline(end)
		framed := make([]byte, 2+len(out))
		binary.BigEndian.PutUint16(framed, uint16(len(out)))
		copy(framed[2:], out)
		if _, err := conn.Write(framed); err != nil {
			return nil, err
		}
		return readTCP(conn, m)
	}
	out = append([]byte(nil), out...)
	waits := []time.Time{time.Now().Add(time.Duration(float64(limit) * firstWait)), end}
	for _, wait := range waits {
		if wait.After(end) {
			wait = end
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		_ = conn.SetDeadline(wait)
		if _, err = conn.Write(out); err != nil {
			return nil, err
		}
		var reply *mdns.Msg
		if reply, err = readUDP(conn, m, *buf); err == nil || dial.Outcome(err) != dial.Timeout {
			good = err == nil
			return reply, err
		}
	}
	return nil, err
}

// readUDP waits for the datagram that answers m; whatever else arrives is not
// for us.
func readUDP(conn net.Conn, m *mdns.Msg, buf []byte) (*mdns.Msg, error) {
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if n < 12 || binary.BigEndian.Uint16(buf) != m.Id || buf[2]&0x80 == 0 {
			continue
		}
		reply, err := unpack(buf[:n], m)
		if errors.Is(err, errOther) {
			continue
		}
		return reply, err
	}
}

func readTCP(conn net.Conn, m *mdns.Msg) (*mdns.Msg, error) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, err
	}
	if len(buf) < 12 || binary.BigEndian.Uint16(buf) != m.Id {
		return nil, errMalformed
	}
	reply, err := unpack(buf, m)
	if errors.Is(err, errOther) {
		err = errMalformed
	}
	if err == nil && reply.Truncated {
		reply.Truncated = false // nonsense over TCP
	}
	return reply, err
}

var (
	errOther     = errors.New("an answer to another question")
	errMalformed = errors.New("the answer is no DNS message")
)

func unpack(b []byte, m *mdns.Msg) (*mdns.Msg, error) {
	reply := new(mdns.Msg)
	if err := reply.Unpack(b); err != nil {
		if b[2]&0x02 != 0 { // cut in the middle of a record: all we need is the flag
			return &mdns.Msg{MsgHdr: mdns.MsgHdr{Id: m.Id, Truncated: true}}, nil
		}
		return nil, errMalformed
	}
	if len(reply.Question) > 0 {
		q, w := reply.Question[0], m.Question[0]
		if !strings.EqualFold(q.Name, w.Name) || q.Qtype != w.Qtype || q.Qclass != w.Qclass {
			return nil, errOther
		}
	}
	return reply, nil
}

func failure(err error) Outcome {
	if errors.Is(err, errMalformed) {
		return Malformed
	}
	switch dial.Outcome(err) {
	case dial.Timeout, dial.Cancelled:
		return Timeout
	case dial.Refused, dial.Unreachable, dial.Denied, dial.Reset:
		return Unreachable
	}
	return Malformed
}

// fill takes the reply apart.
func (a *Answer) fill(m *mdns.Msg) {
	a.AA, a.AD, a.RA, a.Rcode = m.Authoritative, m.AuthenticatedData, m.RecursionAvailable, mdns.RcodeToString[m.Rcode]
	for _, rr := range m.Ns {
		if r, ok := record(rr); ok {
			a.Authority = append(a.Authority, r)
		}
	}
	for _, rr := range m.Extra {
		if opt, ok := rr.(*mdns.OPT); ok {
			for _, o := range opt.Option {
				if e, ok := o.(*mdns.EDNS0_EDE); ok {
					a.EDE = append(a.EDE, int(e.InfoCode))
				}
			}
			continue
		}
		if r, ok := record(rr); ok {
			a.Additional = append(a.Additional, r)
		}
	}
	at := a.Name
	for range maxChain {
		next, ok := cnameAt(m.Answer, at)
		if !ok || a.Type == CNAME {
			break
		}
		a.CNAMEs = append(a.CNAMEs, next)
		a.Chain = append(a.Chain, next.Host)
		at = next.Host
	}
	for _, rr := range m.Answer {
		if r, ok := record(rr); ok && r.Type == a.Type && r.Name == at {
			a.Records = append(a.Records, r)
		}
	}
	switch m.Rcode {
	case mdns.RcodeSuccess:
		a.Outcome = Answered
		if len(a.Records) == 0 {
			a.Outcome = NoData
		}
	case mdns.RcodeNameError:
		a.Outcome = NXDomain
	case mdns.RcodeServerFailure:
		a.Outcome = ServFail
	case mdns.RcodeRefused:
		a.Outcome = Refused
	default:
		a.Outcome = Malformed
		a.Err = fmt.Errorf("the server answered %s", a.Rcode)
	}
}

func cnameAt(answer []mdns.RR, name string) (Record, bool) {
	for _, rr := range answer {
		if rr.Header().Rrtype == mdns.TypeCNAME && Name(rr.Header().Name) == name {
			return record(rr)
		}
	}
	return Record{}, false
}
