package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"mailsrv/diag/checkmx"
)

// domains yields those of the command line, then those of --file; the error is
// known when they have all been read.
func (c *checkMX) domains(args []string) (iter.Seq[string], *error) {
	var failed error
	return func(yield func(string) bool) {
		for _, d := range args {
			if !yield(d) {
				return
			}
		}
		if c.file == "" {
			return
		}
		var r io.Reader = c.stdin
		if c.file != "-" {
			f, err := os.Open(c.file)
			if err != nil {
				failed = err
				return
			}
			defer f.Close()
			r = f
		}
		sc := bufio.NewScanner(r)
		for sc.Scan() {
			line, _, _ := strings.Cut(sc.Text(), "#")
			if line = strings.TrimSpace(line); line != "" && !yield(line) {
				return
			}
		}
		failed = sc.Err()
	}, &failed
}

// each checks domains, so many at a time, and yields the reports in the order
// of the domains. No more than a few reports per job are held.
func each(ctx context.Context, jobs int, domains iter.Seq[string], check func(context.Context, string) *checkmx.Report) iter.Seq[*checkmx.Report] {
	return func(yield func(*checkmx.Report) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		type job struct {
			domain string
			report chan *checkmx.Report
		}
		todo := make(chan job)
		order := make(chan job, 4*jobs)
		wg.Go(func() {
			defer close(order)
			defer close(todo)
			for d := range domains {
				j := job{d, make(chan *checkmx.Report, 1)}
				select {
				case order <- j:
				case <-ctx.Done():
					return
				}
				select {
				case todo <- j:
				case <-ctx.Done():
					return
				}
			}
		})
		for range jobs {
			wg.Go(func() {
				for j := range todo {
					j.report <- check(ctx, j.domain)
				}
			})
		}
		for j := range order {
			select {
			case r := <-j.report:
				if !yield(r) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// openOutput opens the file for a run's documents. With resume, what a broken
// run left stays: done is the number of its whole lines, a last half one goes.
func openOutput(name string, resume bool) (f *os.File, done int, err error) {
	if !resume {
		f, err = os.Create(name)
		return f, 0, err
	}
	if f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, 0, err
	}
	end, done, err := wholeLines(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, done, nil
}

// wholeLines counts the lines that end, and tells where the last one does.
func wholeLines(r io.Reader) (end int64, lines int, err error) {
	buf := make([]byte, 64<<10)
	var at int64
	for {
		n, err := r.Read(buf)
		lines += bytes.Count(buf[:n], []byte{'\n'})
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			end = at + int64(i) + 1
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return end, lines, nil
		}
		if err != nil {
			return end, lines, err
		}
	}
}

// skip leaves out the first n.
func skip(domains iter.Seq[string], n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		i := 0
		for d := range domains {
			if i++; i > n && !yield(d) {
				return
			}
		}
	}
}

// progress is a line on a terminal that says how far a long run is. Nil says
// nothing.
type progress struct {
	w     io.Writer
	began time.Time
	shown time.Time
	n     int
	total string // "/5000" when it is known
}

// bar is nil unless standard error is a terminal and the results go elsewhere.
func (c *checkMX) bar(single bool) *progress {
	f, ok := c.stderr.(*os.File)
	out, toFile := c.stdout.(*output)
	ownScreen := c.output == "" && toFile && term.IsTerminal(int(out.Fd()))
	if single || c.quiet || !ok || !term.IsTerminal(int(f.Fd())) || ownScreen {
		return nil
	}
	p := &progress{w: f, began: time.Now()}
	if list, err := os.Open(c.file); err == nil && c.file != "-" {
		defer list.Close()
		if info, err := list.Stat(); err == nil && info.Mode().IsRegular() {
			if _, n, err := wholeLines(list); err == nil {
				p.total = fmt.Sprintf("/%d", n)
			}
		}
	}
	return p
}

// step counts one domain; the line appears after a second.
func (p *progress) step() {
	if p == nil {
		return
	}
	p.n++
	if now := time.Now(); now.Sub(p.began) > time.Second && now.Sub(p.shown) > 100*time.Millisecond {
		p.shown = now
		fmt.Fprintf(p.w, "\r%d%s domains, %.0f/s \x1b[K", p.n, p.total, float64(p.n)/now.Sub(p.began).Seconds())
	}
}

// clear takes the line away when the run ends.
func (p *progress) clear() {
	if p != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
