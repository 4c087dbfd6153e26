package bounce

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func corpusDir() string {
	dir := os.Getenv("MAILSRV_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "corpus")
	}
	return filepath.Join(dir, "bounces")
}

// corpus returns the real mails that lie beside the repository or where
// MAILSRV_CORPUS points; nil when there are none.
func corpus(tb testing.TB) [][]byte {
	names, err := filepath.Glob(filepath.Join(corpusDir(), "eml", "*.eml"))
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

// TestCorpus holds the figures promised for the real mails, where they are at
// hand: what is expected of each stands in expected.tsv beside them.
func TestCorpus(t *testing.T) {
	table, err := os.Open(filepath.Join(corpusDir(), "expected.tsv"))
	if err != nil {
		t.Skip("no corpus: ", err)
	}
	defer table.Close()
	lines := csv.NewReader(table)
	lines.Comma = '\t'
	rows, err := lines.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	right, all := map[string]int{}, map[string]int{}
	mark := func(what string, ok bool) {
		all[what]++
		if ok {
			right[what]++
		}
	}
	mails := map[string][]Bounce{}
	for _, f := range rows[1:] {
		name, isBounce, recipient, alt, reason, status, inMail, reply := f[0], f[3], f[4], strings.Fields(f[5]), f[7], f[8], f[9], f[10]
		if _, read := mails[name]; !read {
			raw, err := os.ReadFile(filepath.Join(corpusDir(), "eml", name))
			if err != nil {
				t.Fatal(err)
			}
			m := Parse(raw)
			mails[name] = m.Bounces
			if isBounce == "no" {
				mark("refused", len(m.Bounces) == 0 && m.Kind != Report && m.Kind != Feedback)
			}
		}
		if isBounce == "no" {
			continue
		}
		var b Bounce
		for j, x := range mails[name] {
			if j == 0 || strings.EqualFold(x.Recipient, recipient) || containsFold(alt, x.Recipient) {
				b = x
			}
		}
		if recipient != "" {
			mark("recipient", strings.EqualFold(b.Recipient, recipient) || containsFold(alt, b.Recipient))
		}
		mark("reason", strings.Contains("|"+reason+"|", "|"+b.Reason+"|"))
		if status != "" && inMail == "yes" {
			mark("status", b.Status == status)
		}
		if reply != "" {
			mark("reply code", b.ReplyCode == reply)
		}
	}
	for what, n := range all {
		share := float64(right[what]) / float64(n)
		t.Logf("%s %d of %d, %.4f", what, right[what], n, share)
		if bound := map[bool]float64{true: 1, false: 0.97}[what == "refused"]; share < bound {
			t.Errorf("%s: %.4f, want at least %.2f", what, share, bound)
		}
	}
}
