package config

import (
	"strings"

	"mailsrv/codes"
)

// nearest returns the candidate that s was probably meant to be, or "".
func nearest(s string, candidates []string) string {
	best, at := "", max(2, len(s)/3)+1
	for _, c := range candidates {
		if len(c) > 2 && strings.HasPrefix(s, c) {
			return c // "warning" for "warn"
		}
		if d := codes.Distance(s, c, at); d < at {
			best, at = c, d
		}
	}
	return best
}
