package explain

import "testing"

// Words are quoted as they were written, with their first letter and without
// what stands before them.
func TestAsWritten(t *testing.T) {
	for _, tt := range []struct{ text, words, want string }{
		{"connection refused", "connection refused", "connection refused"},
		{"it says Connection  Refused!", "connection refused", "Connection  Refused"},
		{"  Ｃonnection refused", "connection refused", "Ｃonnection refused"},
		{"何か 接続が拒否されました。", "接続が拒否", "接続が拒否"},
		{"nothing of it", "connection refused", "connection refused"},
	} {
		if got := asWritten(tt.text, tt.words); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}
