//go:build unix

package deliver

import "syscall"

var netErrors = []netError{
	{[]error{syscall.ECONNREFUSED}, causeRefused, "Connection refused"},
	{[]error{syscall.ETIMEDOUT}, causeSlow, "Connection timed out"},
	{[]error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED}, causeReset, "Connection reset by peer"},
	{[]error{syscall.EHOSTUNREACH, syscall.EHOSTDOWN}, causeUnreachable, "No route to host"},
	{[]error{syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT}, causeUnreachable, "Network is unreachable"},
	{[]error{syscall.EACCES, syscall.EPERM}, "firewall-local", "Permission denied by this machine"},
}
