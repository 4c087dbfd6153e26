package deliver

import "golang.org/x/sys/windows"

var netErrors = []netError{
	{[]error{windows.WSAECONNREFUSED}, causeRefused, "Connection refused"},
	{[]error{windows.WSAETIMEDOUT}, causeSlow, "Connection timed out"},
	{[]error{windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAESHUTDOWN}, causeReset, "Connection reset by peer"},
	{[]error{windows.WSAEHOSTUNREACH, windows.WSAEHOSTDOWN}, causeUnreachable, "No route to host"},
	{[]error{windows.WSAENETUNREACH, windows.WSAENETDOWN, windows.WSAEADDRNOTAVAIL, windows.WSAEAFNOSUPPORT}, causeUnreachable, "Network is unreachable"},
	{[]error{windows.WSAEACCES}, "firewall-local", "Permission denied by this machine"},
}
