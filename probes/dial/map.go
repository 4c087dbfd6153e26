package dial

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Map is a Dialer for tests and labs. What it does not list is unreachable;
// nothing but its targets is ever contacted.
type Map struct {
	targets map[netip.AddrPort]target
	addrs   map[netip.Addr]bool
}

type target struct {
	addr   string // host:port, or empty
	refuse bool
	drop   bool
}

// maxMapLine is the longest line of a map file, in octets.
const maxMapLine = 4096

// ParseMap reads a --dial-map file: lines "ADDR:PORT TARGET", where TARGET is
// host:port, "refuse" (connection refused) or "drop" (no answer). Blank lines
// and what follows a # are ignored. A later line for the same address wins.
func ParseMap(r io.Reader) (*Map, error) {
	m := &Map{targets: map[netip.AddrPort]target{}, addrs: map[netip.Addr]bool{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxMapLine)
	n := 0
	for sc.Scan() {
		n++
		line, _, _ := strings.Cut(sc.Text(), "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 2 {
			return nil, fmt.Errorf("line %d: want ADDR:PORT and TARGET (host:port, refuse or drop), have %q", n, strings.TrimSpace(line))
		}
		from, err := netip.ParseAddrPort(f[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %q is no ADDR:PORT (IPv6 addresses stand in brackets)", n, f[0])
		}
		to, err := parseTarget(f[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		from = plain(from)
		m.targets[from] = to
		m.addrs[from.Addr()] = true
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	return m, nil
}

func parseTarget(s string) (target, error) {
	switch s {
	case "refuse":
		return target{refuse: true}, nil
	case "drop":
		return target{drop: true}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		return target{}, fmt.Errorf("%q is no TARGET: want host:port, refuse or drop", s)
	}
	return target{addr: s}, nil
}

// Lists tells whether any port of that address stands in the map. Listed
// addresses count as public ones, whatever their range.
func (m *Map) Lists(a netip.Addr) bool { return m != nil && m.addrs[a.Unmap().WithZone("")] }

// ListsPort tells whether that port of any address stands in the map: whether
// the lab has such servers at all.
func (m *Map) ListsPort(port uint16) bool {
	for ap := range m.targets {
		if ap.Port() == port {
			return true
		}
	}
	return false
}

// DialContext connects to the target of addr. A drop fails at once, so that
// labs need not wait for time-outs.
func (m *Map) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	fail := func(e syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: network, Addr: mapAddr{network, addr}, Err: os.NewSyscallError("connect", e)}
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fail(syscall.EHOSTUNREACH)
	}
	t, ok := m.targets[plain(ap)]
	switch {
	case !ok:
		return nil, fail(syscall.EHOSTUNREACH)
	case t.refuse:
		return nil, fail(syscall.ECONNREFUSED)
	case t.drop:
		return nil, fail(syscall.ETIMEDOUT)
	}
	// The family of the network is that of the address asked for, not that of
	// the target.
	return System.DialContext(ctx, strings.TrimRight(network, "46"), t.addr)
}

func plain(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

type mapAddr struct{ network, addr string }

func (a mapAddr) Network() string { return a.network }
func (a mapAddr) String() string  { return a.addr }
