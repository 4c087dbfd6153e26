package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
)

// Words of the list of causes (codes.CauseWords) that a fault on the way has.
const (
	causeDNS         = "dns-failure"
	causeRefused     = "connect-refused"
	causeTimeout     = "connect-timeout"
	causeReset       = "connection-reset"
	causeSlow        = "server-timeout"
	causeUnreachable = "network-unreachable"
	causeTLS         = "tls-mismatch"
	causeCert        = "tls-cert"
	causeTLSVersion  = "tls-version"
	causeAuthFailed  = "auth-failed"
	causeAuthMethod  = "auth-method"
	causeAuthNeeded  = "auth-required"
	causeLoop        = "mail-loop"
	causeTooBig      = "message-too-large"
	causeSyntax      = "syntax-error"
	causeNoSuchUser  = "user-unknown"
	causeOwnDisk     = "server-temporary"
	causeRate        = "rate-limit"
	causeCancelled   = "cancelled"
	causeUnknown     = "unknown"
)

// at is the host that a result is about.
type at struct {
	host     string
	addr     netip.AddrPort
	tls      string
	tlsFault string
}

// String is "mx.example.net[192.0.2.1]:25", the form that mail administrators
// know from other servers' logs.
func (a at) String() string {
	return fmt.Sprintf("%s[%s]:%d", a.host, a.addr.Addr(), a.addr.Port())
}

func (a at) result(r Result) Result {
	r.Host, r.Addr, r.TLS, r.TLSFault = a.host, a.addr, a.tls, a.tlsFault
	return r
}

// replied is the result of a reply that is not positive.
func (a at) replied(command string, r reply) Result {
	return a.result(Result{Outcome: r.outcome(), Code: r.code, Enhanced: r.enhanced, Text: r.String(), Command: command})
}

// connecting is the result of a connection that did not come about.
func (a at) connecting(err error) Result {
	cause, words := netFault(err)
	if cause == causeSlow {
		cause, words = causeTimeout, "Connection timed out"
	}
	return a.result(Result{Outcome: Deferred, Enhanced: "4.4.1", Command: "CONN", Cause: cause,
		Text: fmt.Sprintf("connect to %s: %s", a, words)})
}

// crowded is the result when our own connections to the host are all in use.
func (a at) crowded(ctx context.Context) Result {
	if err := ctx.Err(); err != nil {
		return a.connecting(err)
	}
	return a.result(Result{Outcome: Deferred, Enhanced: "4.4.5", Command: "CONN", Cause: causeRate,
		Text: fmt.Sprintf("connect to %s: too many connections of this server there already", a)})
}

// talking is the result of a connection that failed while it was used.
func (a at) talking(command, doing string, err error) Result {
	r := Result{Outcome: Deferred, Enhanced: "4.4.2", Command: command}
	switch {
	case errors.Is(err, errNoReply):
		r.Enhanced, r.Cause = "4.5.0", causeSyntax
		r.Text = fmt.Sprintf("conversation with %s failed %s: %v", a, doing, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.Cause = causeSlow
		r.Text = fmt.Sprintf("conversation with %s timed out %s", a, doing)
	default:
		var words string
		r.Cause, words = netFault(err)
		r.Text = fmt.Sprintf("lost connection with %s %s: %s", a, doing, words)
	}
	return a.result(r)
}

// tlsFailed is the result of a handshake that failed where TLS is a must.
func (a at) tlsFailed(err error) Result {
	return a.result(Result{Outcome: Deferred, Enhanced: "4.7.5", Command: "STARTTLS", Cause: tlsCause(err),
		Text: fmt.Sprintf("TLS with %s failed: %s", a, clean(err.Error()))})
}

func tlsCause(err error) string {
	var cert *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &cert), errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)):
		return causeCert
	case errors.As(err, &header):
		return causeTLS
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded):
		return causeTLS
	}
	if cause, _ := netFault(err); cause != causeUnknown {
		return cause
	}
	return causeTLSVersion
}

// netFault is the cause of a network error and what it is called in English,
// whatever the system's language. Errors are told apart by number.
func netFault(err error) (cause, words string) {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed): // we closed it
		return causeCancelled, "this server is stopping"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return causeSlow, "Connection timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return causeReset, "Connection closed by the other side"
	}
	for _, k := range netErrors {
		if slices.ContainsFunc(k.numbers, func(n error) bool { return errors.Is(err, n) }) {
			return k.cause, k.words
		}
	}
	return causeUnknown, clean(err.Error())
}

type netError struct {
	numbers []error
	cause   string
	words   string
}
