package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"mailsrv/diag/explain"
)

// longLog is from which size on a log is read line by line instead of whole.
const longLog = 1 << 20

// peekLog tells whether br begins a long log. It takes nothing from br, whose
// buffer must hold longLog bytes.
func peekLog(br *bufio.Reader) bool {
	head, err := br.Peek(longLog)
	return err == nil && explain.IsLog(head[:64<<10])
}

// readLog explains a long log, with a progress bar on a terminal.
func (a *app) readLog(s source) (explain.Result, error) {
	bar := a.bytesBar(s.size)
	defer bar.clear()
	return explain.ExplainLog(s.log, a.lang, bar.at)
}

// bytesBar shows how much of an input has been read. Nil says nothing.
type bytesBar struct {
	w            io.Writer
	size         int64 // 0: not known
	began, shown time.Time
}

// bytesBar is nil unless standard error is a terminal.
func (a *app) bytesBar(size int64) *bytesBar {
	f, ok := a.stderr.(*os.File)
	if !ok || a.quiet || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &bytesBar{w: f, size: size, began: time.Now()}
}

// at is called with the bytes read so far; the bar appears after a second.
func (b *bytesBar) at(n int64) {
	if b == nil {
		return
	}
	now := time.Now()
	if now.Sub(b.began) < time.Second || now.Sub(b.shown) < 100*time.Millisecond {
		return
	}
	b.shown = now
	fmt.Fprint(b.w, "\r"+barText(n, b.size, now.Sub(b.began))+"\x1b[K")
}

// barText is the bar: "[#####.....] 48%  512/1024 MB  63 MB/s".
func barText(n, size int64, spent time.Duration) string {
	const cells = 30
	speed := fmt.Sprintf("%.0f MB/s", float64(n)/1e6/spent.Seconds())
	if size <= 0 || n > size {
		return fmt.Sprintf("%d MB  %s", n/1e6, speed)
	}
	full := int(cells * n / size)
	bar := make([]byte, cells)
	for i := range bar {
		bar[i] = '.'
		if i < full {
			bar[i] = '#'
		}
	}
	return fmt.Sprintf("[%s] %d%%  %d/%d MB  %s", bar, 100*n/size, n/1e6, size/1e6, speed)
}

// clear takes the bar away.
func (b *bytesBar) clear() {
	if b != nil && !b.shown.IsZero() {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
