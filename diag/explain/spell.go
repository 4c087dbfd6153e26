package explain

import (
	"fmt"
	"strconv"
	"strings"
)

// codeKind is the numbering a code belongs to.
type codeKind int

const (
	kindHResult  codeKind = iota // 0x8....... of Outlook and Windows
	kindSocket                   // 10004..11999 Winsock, 12001..12186 WinINet
	kindErrno                    // Unix error numbers
	kindReply                    // SMTP reply codes
	kindEnhanced                 // enhanced status codes, RFC 3463
	kindSymbol                   // names: WSAECONNREFUSED, FAQ00, pop-before-smtp
)

// hexCode reads an error number written in hexadecimal at the start of s:
// "0x800CCC0E", "800ccc0e", with a letter O for a zero, a multiplication sign
// for the x, or one line break inside. It returns the canonical spelling and
// the number of bytes read, or n = 0. prefixed tells whether a 0x stood there.
func hexCode(s string) (code string, n int, prefixed bool) {
	i := 0
	if len(s) > 2 && isZero(s[0]) && (s[1] == 'x' || s[1] == 'X') {
		i, prefixed = 2, true
	} else if len(s) > 3 && isZero(s[0]) && strings.HasPrefix(s[1:], "×") {
		i, prefixed = 3, true
	}
	var digits []byte
	for ; i < len(s) && len(digits) < 9; i++ {
		c := s[i]
		switch {
		case c == 'O' || c == 'o':
			c = '0'
		case (c == '\n' || c == ' ') && prefixed && len(digits) < 8 && i+1 < len(s) && isHex(s[i+1]) && wrapsInto(s[i+1:], 8-len(digits)):
			continue
		}
		if !isHex(c) {
			break
		}
		digits = append(digits, c)
	}
	if len(digits) != 8 || digits[0] < '8' || i < len(s) && isWord(s[i]) {
		return "", 0, false
	}
	return "0x" + strings.ToUpper(string(digits)), i, prefixed
}

// wrapsInto tells whether s goes on with exactly the n hex digits that a code
// broken by a line wrap still lacks.
func wrapsInto(s string, n int) bool {
	if len(s) < n {
		return false
	}
	for i := range n {
		if !isHex(s[i]) && s[i] != 'O' && s[i] != 'o' {
			return false
		}
	}
	return len(s) == n || !isWord(s[n])
}

// hresultOf reads a decimal HRESULT: -2146644978 or 2148322318, with or without
// thousands separators it was never written with.
func hresultOf(decimal string) (code string, ok bool) {
	n, err := strconv.ParseInt(decimal, 10, 64)
	if err != nil {
		return "", false
	}
	if n < 0 {
		n += 1 << 32
	}
	if n < 0x80000000 || n > 0xFFFFFFFF {
		return "", false
	}
	return fmt.Sprintf("0x%08X", n), true
}

// win32Of decodes what Windows wraps into an HRESULT: 0x8007274D is the Win32
// error 10061.
func win32Of(code string) (n int, ok bool) {
	v, err := strconv.ParseUint(strings.TrimPrefix(code, "0x"), 16, 32)
	if err != nil || v>>16 != 0x8007 {
		return 0, false
	}
	return int(v & 0xFFFF), true
}

// errnoNames are the error numbers that mail programs log, by the numbering of
// Linux. Numbers up to 34 are the same everywhere.
var errnoNames = map[int]string{
	1: "EPERM", 2: "ENOENT", 4: "EINTR", 5: "EIO", 9: "EBADF", 11: "EAGAIN", 12: "ENOMEM", 13: "EACCES", 14: "EFAULT",
	22: "EINVAL", 23: "ENFILE", 24: "EMFILE", 27: "EFBIG", 28: "ENOSPC", 30: "EROFS", 32: "EPIPE",
	97: "EAFNOSUPPORT", 98: "EADDRINUSE", 99: "EADDRNOTAVAIL", 100: "ENETDOWN", 101: "ENETUNREACH", 102: "ENETRESET",
	103: "ECONNABORTED", 104: "ECONNRESET", 105: "ENOBUFS", 106: "EISCONN", 107: "ENOTCONN", 108: "ESHUTDOWN",
	110: "ETIMEDOUT", 111: "ECONNREFUSED", 112: "EHOSTDOWN", 113: "EHOSTUNREACH", 114: "EALREADY", 115: "EINPROGRESS",
	122: "EDQUOT",
	// The BSDs and macOS, whose numbers Winsock took over and raised by 10000.
	35: "EAGAIN", 36: "EINPROGRESS", 47: "EAFNOSUPPORT", 48: "EADDRINUSE", 49: "EADDRNOTAVAIL", 50: "ENETDOWN",
	51: "ENETUNREACH", 52: "ENETRESET", 53: "ECONNABORTED", 54: "ECONNRESET", 55: "ENOBUFS", 57: "ENOTCONN",
	60: "ETIMEDOUT", 61: "ECONNREFUSED", 64: "EHOSTDOWN", 65: "EHOSTUNREACH", 69: "EDQUOT",
}

// errnoWords are the sentences of strerror that stand beside a number in a log:
// "Connection refused (111)".
var errnoWords = map[string]string{
	"connection refused": "ECONNREFUSED", "connection timed out": "ETIMEDOUT", "operation timed out": "ETIMEDOUT",
	"connection reset by peer": "ECONNRESET", "network is unreachable": "ENETUNREACH", "no route to host": "EHOSTUNREACH",
	"permission denied": "EACCES", "no space left on device": "ENOSPC", "disk quota exceeded": "EDQUOT",
	"address already in use": "EADDRINUSE", "cannot assign requested address": "EADDRNOTAVAIL", "broken pipe": "EPIPE",
	"too many open files": "EMFILE", "resource temporarily unavailable": "EAGAIN", "software caused connection abort": "ECONNABORTED",
	"host is down": "EHOSTDOWN", "file too large": "EFBIG", "read-only file system": "EROFS", "no such file or directory": "ENOENT",
}

// socketRange tells numbers that Winsock (10004..11031) or WinINet and WinHTTP
// (12001..12186) gives to errors.
func socketRange(n int) bool {
	return n >= 10004 && n <= 10112 || n >= 11001 && n <= 11031 || n >= 12001 && n <= 12186
}

func isZero(c byte) bool  { return c == '0' || c == 'O' || c == 'o' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isWord(c byte) bool  { return isDigit(c) || isAlpha(c) || c == '_' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// digitsAt is the number of digits that stand at place i.
func digitsAt(s string, i int) int {
	n := 0
	for i+n < len(s) && isDigit(s[i+n]) {
		n++
	}
	return n
}
