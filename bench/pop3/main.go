// Command pop3 measures how mailsrv and Dovecot serve big mailboxes and many
// idle sessions over POP3. bench/pop3.sh runs it.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailsrv/bench/subject"
)

// server is one of those that are compared. Its users are u0, u1, ...; u0 has
// the big mailbox.
type server interface {
	name() string
	addr() string
	maildir(user string) string
	own(path string) // gives files to the user that the server reads mail as
	forget()         // what it remembers of the mailbox of u0, outside its memory
	rss() int64      // octets
	start()          // again, after stop
	stop()
}

func main() {
	log.SetFlags(0)
	var (
		bin      = flag.String("mailsrv", "mailsrv", "the binary")
		dir      = flag.String("dir", os.TempDir(), "where the mail lies")
		messages = flag.Int("messages", 100_000, "in the big mailbox")
		size     = flag.Int("size", 1000, "octets of a message")
		sized    = flag.Bool("sized", true, "file names tell the sizes (S= and W=), as both servers write them; without, as other programs do")
		idle     = flag.Int("idle", 1000, "sessions at once")
		rounds   = flag.Int("rounds", 3, "how often everything is measured; the median counts")
		with     = flag.String("with", "mailsrv,dovecot", "which servers")
	)
	flag.Parse()
	work, err := os.MkdirTemp(*dir, "bench-pop3-")
	check(err)
	defer os.RemoveAll(work)
	check(os.Chmod(work, 0o755))

	var all []server
	for _, name := range strings.Split(*with, ",") {
		switch name {
		case "mailsrv":
			all = append(all, startMailsrv(*bin, filepath.Join(work, name), *idle))
		case "dovecot":
			all = append(all, startDovecot(filepath.Join(work, name)))
		default:
			log.Panicf("-with %q", name)
		}
	}
	defer func() {
		for _, s := range all {
			s.stop()
		}
	}()
	for _, s := range all {
		fill(s.maildir("u0"), *messages, *size, *sized)
		for i := 1; i <= *idle; i++ {
			fill(s.maildir(fmt.Sprintf("u%d", i)), 1, *size, true)
		}
		s.own(filepath.Dir(s.maildir("u0")))
	}
	t := newTable()
	for range *rounds {
		for _, s := range all {
			big(t, s)
		}
	}
	for _, s := range all {
		// What a big mailbox has left in its memory is no part of a session's.
		s.stop()
		s.start()
		crowd(t, s, *idle)
	}
	t.print(all)
}

// fill makes a Maildir of messages in cur.
func fill(maildir string, n, size int, sized bool) {
	for _, part := range []string{"tmp", "new", "cur"} {
		check(os.MkdirAll(filepath.Join(maildir, part), 0o700))
	}
	text := "From: a@example.net\nTo: u0@example.com\nSubject: number %06d\n\n"
	text += strings.Repeat(strings.Repeat("x", 71)+"\n", max(0, size-len(text))/72)
	base := time.Now().Unix() - int64(n)
	for i := range n {
		t := fmt.Sprintf(text, i)
		name := fmt.Sprintf("%d.M%06dP4711.bench", base+int64(i), i%1_000_000)
		if sized {
			name += fmt.Sprintf(",S=%d,W=%d", len(t), len(t)+strings.Count(t, "\n"))
		}
		check(os.WriteFile(filepath.Join(maildir, "cur", name+":2,S"), []byte(t), 0o600))
	}
	// Clocks of file systems tick slowly; a folder that has just changed is
	// read again by every server.
	time.Sleep(20 * time.Millisecond)
}

func check(err error) { subject.Check(err) }
