package simulate

import (
	"net"
	"os"

	"golang.org/x/sys/windows"
)

// refuse takes a port without listening on it: connections are refused, and
// nobody else gets the port.
func refuse(addr string) (at string, release func(), err error) {
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	family, sa := windows.AF_INET, windows.Sockaddr(nil)
	if ip4 := want.IP.To4(); ip4 != nil {
		sa = &windows.SockaddrInet4{Port: want.Port, Addr: [4]byte(ip4)}
	} else {
		family, sa = windows.AF_INET6, &windows.SockaddrInet6{Port: want.Port, Addr: [16]byte(want.IP.To16())}
	}
	s, err := windows.Socket(family, windows.SOCK_STREAM, windows.IPPROTO_TCP)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	release = func() { _ = windows.Closesocket(s) }
	if err := windows.Bind(s, sa); err != nil {
		release()
		return "", nil, &net.OpError{Op: "bind", Net: "tcp", Addr: want, Err: os.NewSyscallError("bind", err)}
	}
	got, err := windows.Getsockname(s)
	if err != nil {
		release()
		return "", nil, os.NewSyscallError("getsockname", err)
	}
	switch got := got.(type) {
	case *windows.SockaddrInet4:
		want.Port = got.Port
	case *windows.SockaddrInet6:
		want.Port = got.Port
	}
	return want.String(), release, nil
}

// ignore cannot be done: Windows answers a full queue with a reset.
func ignore(string) (at string, release func(), err error) { return "", nil, ErrCannotPlay }
