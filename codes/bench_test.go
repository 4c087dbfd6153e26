package codes

import "testing"

// BenchmarkIndex is what the first look-up of a process costs: the bound is
// 2 ms for the whole catalogue.
func BenchmarkIndex(b *testing.B) {
	for b.Loop() {
		if n := len(newIndex().at); n == 0 {
			b.Fatal("empty catalogue")
		}
	}
}

func BenchmarkDecodeEntry(b *testing.B) {
	ix := newIndex()
	for b.Loop() {
		decodeEntry(ix.at[0])
	}
}

func BenchmarkMatchText(b *testing.B) {
	text := Fold("The message could not be sent because one of the recipients was rejected by the server. " +
		"Server Response: '553 sorry, that domain isn't in my list of allowed rcpthosts', Port: 25, Secure(SSL): No")
	for b.Loop() {
		MatchFolded(text)
	}
}
