//go:build unix

package simulate

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// refuse takes a port without listening on it: connections are refused, and
// nobody else gets the port.
func refuse(addr string) (at string, release func(), err error) {
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	family, sa := unix.AF_INET, unix.Sockaddr(nil)
	if ip4 := want.IP.To4(); ip4 != nil {
		sa = &unix.SockaddrInet4{Port: want.Port, Addr: [4]byte(ip4)}
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: want.Port, Addr: [16]byte(want.IP.To16())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	release = func() { _ = unix.Close(fd) }
	if err := unix.Bind(fd, sa); err != nil {
		release()
		return "", nil, &net.OpError{Op: "bind", Net: "tcp", Addr: want, Err: os.NewSyscallError("bind", err)}
	}
	got, err := unix.Getsockname(fd)
	if err != nil {
		release()
		return "", nil, os.NewSyscallError("getsockname", err)
	}
	switch got := got.(type) {
	case *unix.SockaddrInet4:
		want.Port = got.Port
	case *unix.SockaddrInet6:
		want.Port = got.Port
	}
	return want.String(), release, nil
}

// ignore listens with a queue of one and fills it: the kernel then drops what
// asks for more, and connections get no answer.
func ignore(addr string) (at string, release func(), err error) {
	l, err := net.Listen(network(addr), addr)
	if err != nil {
		return "", nil, err
	}
	var held []net.Conn
	release = func() {
		for _, c := range held {
			_ = c.Close()
		}
		_ = l.Close()
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		var lerr error
		err = errors.Join(raw.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), 1) }), lerr)
	}
	if err != nil {
		release()
		return "", nil, err
	}
	const (
		most  = 64 // connections that a short queue can hold
		quiet = 300 * time.Millisecond
		sure  = 2 // tries without an answer
	)
	for silent := 0; len(held) < most; {
		c, err := net.DialTimeout("tcp", l.Addr().String(), quiet)
		var ne net.Error
		switch {
		case err == nil:
			held, silent = append(held, c), 0
		case errors.As(err, &ne) && ne.Timeout():
			if silent++; silent == sure {
				return l.Addr().String(), release, nil
			}
		default:
			release()
			return "", nil, ErrCannotPlay
		}
	}
	release()
	return "", nil, ErrCannotPlay
}
