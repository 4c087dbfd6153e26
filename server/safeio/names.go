package safeio

import (
	"fmt"
	"strings"
)

// FileName is the form of a mail domain or local part in the file system: the
// same, except that characters that not every system takes become %XX. The
// result never leads out of the folder it is used in.
func FileName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`%/\:*?"<>|`, c) >= 0, c == '.' && i == 0:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// ParseFileName is the inverse of FileName; ok is false for what FileName would
// not have made.
func ParseFileName(file string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(file); i++ {
		if file[i] != '%' {
			b.WriteByte(file[i])
			continue
		}
		var c byte
		if i+2 >= len(file) {
			return "", false
		}
		if _, err := fmt.Sscanf(file[i+1:i+3], "%02X", &c); err != nil {
			return "", false
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String(), FileName(b.String()) == file
}
