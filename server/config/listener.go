package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Listener is one address that one service listens on.
type Listener struct {
	Service string
	Addr    string // "127.0.0.1:25", "[::1]:25", ":25" for every address
	Line    int    // in the file, 0 without one
}

// usualPort is what a service listens on where nothing else is said.
var usualPort = map[string]int{SMTP: 25, Submission: 587, Submissions: 465, POP3: 110, POP3S: 995, Web: 8025}

// ImplicitTLS tells whether TLS comes before the first word.
func (l Listener) ImplicitTLS() bool { return l.Service == Submissions || l.Service == POP3S }

// Network is the network for net.Listen. ":25" serves IPv4 and IPv6 together,
// "0.0.0.0:25" and "[::]:25" one of them each.
func (l Listener) Network() string {
	switch a := l.IP(); {
	case !a.IsValid():
		return "tcp"
	case a.Is4():
		return "tcp4"
	default:
		return "tcp6"
	}
}

// IP is the address part, the zero Addr for every address.
func (l Listener) IP() netip.Addr {
	host, _, err := net.SplitHostPort(l.Addr)
	if err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// Port is the port number.
func (l Listener) Port() int {
	_, port, _ := net.SplitHostPort(l.Addr)
	n, _ := strconv.Atoi(port)
	return n
}

// Loopback tells whether only this machine can reach the listener.
func (l Listener) Loopback() bool { return l.IP().IsLoopback() }

// overlaps tells whether both would ask the system for the same address.
func (l Listener) overlaps(m Listener) bool {
	if l.Port() != m.Port() || l.Port() == 0 {
		return false
	}
	a, b := l.IP(), m.IP()
	if !a.IsValid() || !b.IsValid() {
		return true
	}
	return a.Is4() == b.Is4() && (a == b || a.IsUnspecified() || b.IsUnspecified())
}

// parseListen reads a listen address. On a mistake, suggestion is what was
// probably meant.
func parseListen(service, s string) (addr, message, suggestion string) {
	const accepted = `must be "ADDRESS:PORT", such as "127.0.0.1:25", "[::1]:25", or ":25" for every address of this machine`
	usual := strconv.Itoa(usualPort[service])
	t := strings.TrimSpace(s)
	if n, err := strconv.Atoi(t); err == nil && n >= 0 && n <= 65535 {
		return "", accepted, strconv.Quote(":" + t)
	}
	if a, err := netip.ParseAddr(strings.Trim(t, "[]")); err == nil {
		return "", "the port is missing; " + accepted, strconv.Quote(net.JoinHostPort(a.String(), usual))
	}
	host, port, err := net.SplitHostPort(t)
	if err != nil {
		return "", accepted, ""
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 || port != strconv.Itoa(n) {
		return "", "the port must be a number from 1 to 65535; " + accepted, ""
	}
	switch host {
	case "":
		return ":" + port, "", ""
	case "*":
		return "", accepted, strconv.Quote(":" + port)
	case "localhost":
		return "127.0.0.1:" + port, "", ""
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return "", "a listener needs the IP address itself, not a name; " + accepted, ""
	}
	if a.Is4In6() {
		return "", accepted, strconv.Quote(net.JoinHostPort(a.Unmap().String(), port))
	}
	return net.JoinHostPort(a.String(), port), "", ""
}
