package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"syscall"
)

// Outcome words: how a network step ended. They are part of the JSON documents
// and never change meaning.
const (
	Refused       = "refused"
	Timeout       = "timeout"
	Reset         = "reset"
	Closed        = "closed"
	Unreachable   = "unreachable"
	NXDomain      = "nxdomain"
	ServFail      = "servfail"
	Silent        = "silent"         // connected, but nothing within the limit
	Drip          = "drip"           // comes in too slowly
	Garbage       = "garbage"        // not the protocol
	TLSExpected   = "tls-expected"   // the server speaks TLS
	PlainExpected = "plain-expected" // the server does not speak TLS
	Handshake     = "handshake"
	Version       = "version"
	Temporary     = "temporary" // the server's own answer: try later
	Permanent     = "permanent" // the server's own answer: no
	InUse         = "in-use"
	Denied        = "denied"    // no right to do that (EACCES): a local firewall or policy
	Cancelled     = "cancelled" // we gave up
)

// number ties an error's POSIX name to its Winsock number, which support
// engineers know better, on every system.
type number struct {
	name    string
	winsock int
	errno   syscall.Errno
	outcome string
}

var numbers = []number{
	{"ECONNREFUSED", 10061, syscall.ECONNREFUSED, Refused},
	{"ETIMEDOUT", 10060, syscall.ETIMEDOUT, Timeout},
	{"ECONNRESET", 10054, syscall.ECONNRESET, Reset},
	{"ECONNABORTED", 10053, syscall.ECONNABORTED, Reset},
	{"EPIPE", 10058, syscall.EPIPE, Reset},
	{"ENETUNREACH", 10051, syscall.ENETUNREACH, Unreachable},
	{"EHOSTUNREACH", 10065, syscall.EHOSTUNREACH, Unreachable},
	{"ENETDOWN", 10050, syscall.ENETDOWN, Unreachable},
	{"EHOSTDOWN", 10064, syscall.EHOSTDOWN, Unreachable},
	{"EADDRNOTAVAIL", 10049, syscall.EADDRNOTAVAIL, Unreachable},
	{"EAFNOSUPPORT", 10047, syscall.EAFNOSUPPORT, Unreachable},
	{"EADDRINUSE", 10048, syscall.EADDRINUSE, InUse},
	{"EACCES", 10013, syscall.EACCES, Denied},
	{"EPERM", 10013, syscall.EPERM, Denied},
	{"EMFILE", 10024, syscall.EMFILE, "files"},
	{"EMSGSIZE", 10040, syscall.EMSGSIZE, Garbage},
	{"ENOTCONN", 10057, syscall.ENOTCONN, Closed},
	{"EINVAL", 10022, syscall.EINVAL, "invalid"},
}

func numberOf(err error) *number {
	var e syscall.Errno
	if !errors.As(err, &e) {
		return nil
	}
	for i := range numbers {
		n := &numbers[i]
		if e == n.errno || runtime.GOOS == "windows" && int(e) == n.winsock {
			return n
		}
	}
	return nil
}

// Outcome names how a network step ended, by error numbers and types, never by
// text; empty for nil. An error that knows its own outcome says so by a method
// Outcome() string.
func Outcome(err error) string {
	if err == nil {
		return ""
	}
	var own interface{ Outcome() string }
	if errors.As(err, &own) {
		return own.Outcome()
	}
	if n := numberOf(err); n != nil {
		return n.outcome
	}
	var dnsErr *net.DNSError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var ne net.Error
	alert, alerted := remoteAlert(err)
	switch {
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound:
		return NXDomain
	case errors.As(err, &dnsErr) && !dnsErr.IsTimeout:
		return ServFail
	case errors.As(err, &record):
		return PlainExpected
	case alerted && alert == 70: // protocol_version, RFC 8446 section 6
		return Version
	case alerted, errors.As(err, &verify):
		return Handshake
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Cancelled
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return Closed
	case errors.As(err, &ne) && ne.Timeout():
		return Timeout
	}
	return "failed"
}

// remoteAlert is the number of the TLS alert that the other side sent. Package
// tls has an exported type for it with QUIC only: elsewhere it is a *net.OpError
// around a number.
func remoteAlert(err error) (number uint8, ok bool) {
	var quic tls.AlertError
	if errors.As(err, &quic) {
		return uint8(quic), true
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, false
	}
	return uint8(v.Uint()), true
}

// Errno returns the POSIX name of the error number in err ("ECONNREFUSED"), or
// an empty string. A time-out of our own counts as ETIMEDOUT.
func Errno(err error) string {
	if n := numberOf(err); n != nil {
		return n.name
	}
	if err != nil && Outcome(err) == Timeout {
		return "ETIMEDOUT"
	}
	return ""
}

// Winsock returns the number Windows gives that error (10061 for a refused
// connection), on every system, or 0.
func Winsock(err error) int {
	if n := numberOf(err); n != nil {
		return n.winsock
	}
	switch Outcome(err) {
	case Timeout:
		return 10060
	case NXDomain:
		return 11001
	case ServFail:
		return 11002
	}
	return 0
}

// Words says in few words what the outcome of a network step does not: the
// names of the error number, or what else is known; empty when that is nothing.
// The net package's own texts name addresses and system calls that people who
// look for a fault in their mail need not know.
func Words(err error) string {
	if err == nil {
		return ""
	}
	if n := numberOf(err); n != nil {
		return fmt.Sprintf("%s, Winsock %d", n.name, n.winsock)
	}
	var dnsErr *net.DNSError
	if errors.As(err, &dnsErr) {
		says := "the resolver could not find out"
		switch {
		case dnsErr.IsNotFound:
			says = "no such name"
		case dnsErr.IsTimeout:
			says = "the resolver did not answer"
		}
		if dnsErr.Server != "" {
			says += " (" + dnsErr.Server + ")"
		}
		return says
	}
	var op *net.OpError
	for errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	switch Outcome(err) {
	case Timeout, Closed, Cancelled:
		return ""
	}
	return err.Error()
}

// Describe is an outcome word with what Words adds to it.
func Describe(outcome string, err error) string {
	switch words := Words(err); {
	case words == "":
		return outcome
	case outcome == "failed":
		return words
	default:
		return outcome + ": " + words
	}
}

// NoRoute tells that the connection failed for want of a network on this
// machine: nothing was learnt about the other one.
func NoRoute(err error) bool {
	switch Errno(err) {
	case "ENETUNREACH", "ENETDOWN", "EAFNOSUPPORT", "EADDRNOTAVAIL":
		return true
	}
	return false
}
