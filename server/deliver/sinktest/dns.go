package sinktest

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a name server. Keys are names with their final point and a type:
// "example.jp. MX". Values are texts: "10 mx.example.jp." for MX, addresses for
// A and AAAA, a name for CNAME. The value "SERVFAIL" makes the server say so, of
// every name with the key "*"; a name without any record does not exist.
type DNS map[string][]string

// Serve starts the server and returns its address.
func (d DNS) Serve(t testing.TB) netip.AddrPort {
	t.Helper()
	var udp net.PacketConn
	var tcp net.Listener
	for { // until a port is free for both
		var err error
		if udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if tcp, err = net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			break
		}
		_ = udp.Close()
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = udp.Close()
		_ = tcp.Close()
		wg.Wait()
	})
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if a := d.answer(buf[:n], 512); a != nil {
				_, _ = udp.WriteTo(a, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err == nil {
				q := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, q); err == nil {
					a := d.answer(q, 65535)
					binary.BigEndian.PutUint16(size[:], uint16(len(a)))
					_, _ = c.Write(append(size[:], a...))
				}
			}
			_ = c.Close()
		}
	})
	return udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (d DNS) answer(query []byte, most int) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	kind := strings.TrimPrefix(q.Type.String(), "Type")
	for name := strings.ToLower(q.Name.String()); ; {
		if cname := d[name+" CNAME"]; len(cname) > 0 {
			m.Answers = append(m.Answers, record(name, "CNAME", cname[0]))
			name = cname[0]
			continue
		}
		for _, v := range d[name+" "+kind] {
			if v == "SERVFAIL" {
				m.RCode = dnsmessage.RCodeServerFailure
				break
			}
			m.Answers = append(m.Answers, record(name, kind, v))
		}
		if d["*"] != nil {
			m.RCode = dnsmessage.RCodeServerFailure
		} else if !d.exists(name) {
			m.RCode = dnsmessage.RCodeNameError
		}
		break
	}
	out, err := m.Pack()
	if err == nil && len(out) > most {
		m.Answers, m.Truncated = nil, true
		out, err = m.Pack()
	}
	if err != nil {
		return nil
	}
	return out
}

func (d DNS) exists(name string) bool {
	for k := range d {
		if strings.HasPrefix(k, name+" ") {
			return true
		}
	}
	return false
}

func record(name, kind, v string) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 60}
	switch kind {
	case "MX":
		pref, host, _ := strings.Cut(v, " ")
		n := uint16(0)
		for _, c := range pref {
			n = n*10 + uint16(c-'0')
		}
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.MXResource{Pref: n, MX: dnsmessage.MustNewName(host)}}
	case "CNAME":
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(v)}}
	}
	a := netip.MustParseAddr(v)
	if a.Is4() {
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}}
	}
	return dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}}
}
