// Command serve measures how fast mail gets into mailboxes durably: mailsrv
// beside Debian's Postfix, in turn, on one disk. A message counts when its file
// lies in new of the Maildir; a run ends when all of them do.
//
// bench/serve.sh builds what it needs and calls it.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailsrv/bench/subject"
)

func main() {
	log.SetFlags(0)
	bin := flag.String("mailsrv", "", "mailsrv to measure")
	noSync := flag.String("nosync", "", "the same built with -tags mailsrv_nosync")
	base := flag.String("dir", "", "folder on the disk to measure; all data goes below it")
	sizes := flag.String("sizes", "4096,102400", "octets of a message")
	conns := flag.String("conns", "1,10,100", "connections at once")
	each := flag.Int("each", 20, "messages on each connection")
	rounds := flag.Int("rounds", 5, "rounds of each measurement, the servers in turn")
	least := flag.Int("least", 200, "at least so many messages in a round")
	other := flag.String("other", "", "another mailsrv to measure beside it, such as an earlier one")
	noPostfix := flag.Bool("no-postfix", false, "measure mailsrv alone")
	syncs := flag.Bool("syncs", true, "count syncs with strace")
	relayed := flag.Int("relay", 0, "measure only this many messages, through the queue to a smart host")
	flag.Parse()
	dir, err := os.MkdirTemp(*base, "bench-serve-")
	check(err)
	defer os.RemoveAll(dir)
	check(os.Chmod(dir, 0o755))

	if *relayed > 0 {
		starts := []func(string) server{func(d string) server { return startMailsrv("mailsrv", *bin, d) }}
		if !*noPostfix {
			starts = append(starts, func(d string) server { return startPostfix(d) })
		}
		relay(starts, dir, *relayed, *rounds)
		return
	}
	fmt.Printf("%s, %d processors, messages delivered per second: median of %d rounds, servers in turn\n\n", time.Now().UTC().Format(time.RFC3339), runtime.NumCPU(), *rounds)
	var all []server
	ours := startMailsrv("mailsrv", *bin, filepath.Join(dir, "mailsrv"))
	defer ours.stop()
	all = append(all, ours)
	if !*noPostfix {
		p := startPostfix(filepath.Join(dir, "postfix"))
		defer p.stop()
		all = append(all, p)
	}
	if *noSync != "" {
		n := startMailsrv("no sync", *noSync, filepath.Join(dir, "nosync"))
		defer n.stop()
		all = append(all, n)
	}
	if *other != "" {
		o := startMailsrv("other", *other, filepath.Join(dir, "other"))
		defer o.stop()
		all = append(all, o)
	}
	fmt.Printf("%-8s %5s ", "octets", "conns")
	for _, s := range all {
		fmt.Printf(" %10s", s.name())
	}
	fmt.Printf("   mailsrv against each; CPU per message of each mailsrv\n")
	for _, size := range numbers(*sizes) {
		for _, n := range numbers(*conns) {
			row(all, load{conns: n, each: max(*each, 1), size: size, times: max(1, *least/(n**each))}, *rounds)
		}
	}
	if *syncs {
		fmt.Println()
		for _, n := range numbers(*conns) {
			countSyncs(ours, load{conns: n, each: *each, size: 4096, times: max(1, *least/(n**each))})
		}
	}
	ours.stop()
	fmt.Println()
	idle(ours)
}

// server is what is measured.
type server interface {
	name() string
	addr() string
	newDir() string // new of the Maildir that the load goes to
	cpu() time.Duration
	stop()
}

func row(all []server, l load, rounds int) {
	rates := make([][]float64, len(all))
	cpu := make([]time.Duration, len(all))
	for range rounds {
		for i, s := range all {
			before := s.cpu()
			took := l.run(s)
			rates[i] = append(rates[i], float64(l.total())/took.Seconds())
			cpu[i] += s.cpu() - before
			takeAway(s.newDir())
		}
	}
	fmt.Printf("%-8d %5d ", l.size, l.conns)
	for i := range all {
		fmt.Printf(" %10.0f", median(rates[i]))
	}
	fmt.Print("  ")
	for i := 1; i < len(all); i++ {
		// Of each round by itself, so that a slow minute of the machine is in both.
		var ratio []float64
		for k := range rates[i] {
			ratio = append(ratio, rates[0][k]/rates[i][k])
		}
		fmt.Printf(" %6.2fx", median(ratio))
	}
	fmt.Print("  ")
	for _, c := range cpu {
		if c > 0 {
			fmt.Printf(" %.2f ms", float64(c.Microseconds())/1000/float64(rounds*l.total()))
		}
	}
	fmt.Println()
}

func median(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	return x[len(x)/2]
}

func numbers(s string) (out []int) {
	for f := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(f)
		check(err)
		out = append(out, n)
	}
	return out
}

func count(dir string) int {
	d, err := os.Open(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return len(names)
}

// takeAway moves the messages out of a Maildir, as their owner would. They are
// not deleted: for minutes after that an ext4 without a journal looks at each
// inode that has become free before it makes a file, which the next round would
// pay for.
func takeAway(dir string) {
	to := filepath.Join(dir, "../../taken")
	check(os.MkdirAll(to, 0o700))
	names, err := os.ReadDir(dir)
	check(err)
	for _, n := range names {
		check(os.Rename(filepath.Join(dir, n.Name()), filepath.Join(to, n.Name())))
	}
}

func check(err error) { subject.Check(err) }
