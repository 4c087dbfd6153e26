// Package port asks who holds a listening TCP port, and whether this process
// could listen on an address. It binds for an instant at most, and connects to
// nothing.
package port

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"

	"mailsrv/probes/host"
)

// Holder is a listening socket and the process behind it.
type Holder struct {
	Local   netip.AddrPort
	Process host.Process // zero PID: hidden from this user
	User    string       // owner of the socket, also when the process is hidden
}

// Family is "IPv4" or "IPv6".
func (h Holder) Family() string { return family(h.Local.Addr()) }

func family(a netip.Addr) string {
	if a.Is4() || a.Is4In6() {
		return "IPv4"
	}
	return "IPv6"
}

// ErrUnknown says that the operating system does not tell who listens.
var ErrUnknown = errors.New("the listening sockets of this machine cannot be listed")

// Listeners returns every listening TCP socket, in order of port and address.
// A socket that several processes share (a master and its workers) stands once,
// with the one that the others descend from.
func Listeners(ctx context.Context) ([]Holder, error) {
	hs, err := listeners(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	slices.SortStableFunc(hs, func(a, b Holder) int {
		if a.Local.Port() != b.Local.Port() {
			return int(a.Local.Port()) - int(b.Local.Port())
		}
		return a.Local.Addr().Compare(b.Local.Addr())
	})
	return hs, nil
}

// Holding picks, out of all, the sockets that listen where a server with that
// listen address ("127.0.0.1:110", ":110", "0.0.0.0:110") wants to: on the same
// port, and on the same address or with a wildcard on either side. Those of the
// same address family come first.
func Holding(all []Holder, addr string) []Holder {
	want, anyFamily, err := parse(addr)
	if err != nil {
		return nil
	}
	var same, other []Holder
	for _, h := range all {
		if h.Local.Port() != want.Port() {
			continue
		}
		have, at := h.Local.Addr().Unmap(), want.Addr()
		switch {
		case at == have, family(at) == family(have) && (at.IsUnspecified() || have.IsUnspecified()):
			same = append(same, h)
		// A wildcard of IPv6 usually takes IPv4 with it.
		case have == netip.IPv6Unspecified(), anyFamily:
			other = append(other, h)
		}
	}
	return append(same, other...)
}

// parse reads a listen address. Without a host it means all addresses of both
// families.
func parse(addr string) (ap netip.AddrPort, anyFamily bool, err error) {
	h, p, err := net.SplitHostPort(addr)
	if err != nil {
		return ap, false, err
	}
	n, err := net.LookupPort("tcp", p)
	if err != nil {
		return ap, false, err
	}
	if h == "" {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)), true, nil
	}
	if h == "localhost" {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(n)), false, nil
	}
	a, err := netip.ParseAddr(h)
	if err != nil {
		return ap, false, err
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), false, nil
}

// TryBind listens on addr and closes at once. The network is "tcp", "tcp4" or
// "tcp6" as the server would say it. The error holds the errno.
func TryBind(ctx context.Context, network, addr string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// Why a bind failed. The words are part of the JSON documents.
const (
	InUse      = "in-use"
	Permission = "permission" // no right to: a port under 1024, a policy, an excluded range
	NotLocal   = "not-local"  // no such address on this machine
	Other      = "other"
)

// Why tells why binding failed, by the error number.
func Why(err error) string {
	var e syscall.Errno
	if !errors.As(err, &e) {
		return Other
	}
	is := func(posix syscall.Errno, winsock int) bool {
		return e == posix || runtime.GOOS == "windows" && int(e) == winsock
	}
	switch {
	case is(syscall.EADDRINUSE, 10048):
		return InUse
	case is(syscall.EACCES, 10013), is(syscall.EPERM, 10013):
		return Permission
	case is(syscall.EADDRNOTAVAIL, 10049):
		return NotLocal
	}
	return Other
}
