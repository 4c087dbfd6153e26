package explain

import (
	"strings"
	"testing"

	"mailsrv/codes"
)

// The error at the end of a long output is found; long prose stays no error,
// whatever words stand in it.
func TestErrorAtTheEnd(t *testing.T) {
	const message = "The connection to the server has failed. Server: 'pop.example.com', Protocol: POP3, Port: 110, Socket Error: 10061, Error Number: 0x800CCC0E\n"
	dull := strings.Repeat("Nothing of interest happens in this line.\n", 1<<20/42)
	for _, tt := range []struct{ name, text, cause string }{
		{"at the end", dull + message, "connect-refused"},
		{"in words only", dull + "connection refused\n", "connect-refused"},
		{"at the beginning", message + dull, "connect-refused"},
		{"far from the end", dull + "connection refused\n" + dull, "none"},
		{"one line without end", strings.Repeat("あ", 100_000) + " 0x800CCC0E", "connect-refused"},
		{"nowhere", dull, "none"},
	} {
		r := Explain([]byte(tt.text), codes.English)
		if len(r.Diagnosis) == 0 || r.Diagnosis[0].Cause != tt.cause {
			t.Errorf("%s: %+v, want %s", tt.name, r.Diagnosis, tt.cause)
		}
	}
}
