package bounce

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// corpus returns the real mails that lie beside the repository or where
// MAILSRV_CORPUS points; nil when there are none.
func corpus(tb testing.TB) [][]byte {
	dir := os.Getenv("MAILSRV_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "corpus")
	}
	names, err := filepath.Glob(filepath.Join(dir, "bounces", "eml", "*.eml"))
	if err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// BenchmarkParse reports mails a second over the real mails, 4 KB on average,
// and over our own samples when the real ones are not at hand. The bound is
// 5,000 a second on one core.
func BenchmarkParse(b *testing.B) {
	mails := corpus(b)
	if len(mails) == 0 {
		mails = samples(b)
	}
	size := 0
	for _, m := range mails {
		size += len(m)
		Parse(m)
	}
	b.SetBytes(int64(size / len(mails)))
	b.ReportAllocs()
	start, n := time.Now(), 0
	for b.Loop() {
		Parse(mails[n%len(mails)])
		n++
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "mails/s")
}
