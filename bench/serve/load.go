package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"strings"
	"sync"
	"time"
)

// load is one run: conns connections, each of them with each messages of size
// octets, and that times times.
type load struct{ conns, each, size, times int }

func (l load) total() int { return l.conns * l.each * l.times }

// run returns how long it took until all messages lay in the Maildir.
func (l load) run(s server) time.Duration {
	text := l.text()
	before := count(s.newDir())
	started := time.Now()
	for range l.times {
		var wg sync.WaitGroup
		for range l.conns {
			wg.Go(func() {
				if err := session(s.addr(), text, l.each); err != nil {
					log.Panicf("%s: %v", s.name(), err)
				}
			})
		}
		wg.Wait()
	}
	for {
		there, took := count(s.newDir())-before, time.Since(started)
		if there >= l.total() {
			return took
		}
		if took > 10*time.Minute {
			log.Panicf("%s: %d of %d messages delivered", s.name(), there, l.total())
		}
		// Looking takes time of the processors that the server needs.
		left := took * time.Duration(l.total()-there) / time.Duration(there+1)
		time.Sleep(min(max(left/4, time.Millisecond), 100*time.Millisecond))
	}
}

func (l load) text() string {
	head := "From: <a@example.net>\r\nTo: <taro@example.com>\r\nSubject: bench\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <bench@example.net>\r\n\r\n"
	line := strings.Repeat("x", 76) + "\r\n"
	body := strings.Repeat(line, max(0, l.size-len(head))/len(line))
	return head + body + strings.Repeat("y", max(0, l.size-len(head)-len(body)-2)) + "\r\n"
}

// session sends n messages over one connection. MAIL, RCPT and DATA go out
// together, as both servers offer (RFC 2920) and clients under load do.
func session(addr, text string, n int) error {
	return sessionTo(addr, "taro@example.com", text, n)
}

func sessionTo(addr, to, text string, n int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	expect := func(codes ...string) error {
		for _, code := range codes {
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return err
				}
				if !strings.HasPrefix(line, code) {
					return fmt.Errorf("%q, expected %s", line, code)
				}
				if line[3] == ' ' {
					break
				}
			}
		}
		return nil
	}
	say := func(s string, codes ...string) error {
		if _, err := c.Write([]byte(s)); err != nil {
			return err
		}
		return expect(codes...)
	}
	if err := expect("220"); err != nil {
		return err
	}
	if err := say("EHLO bench.example.net\r\n", "250"); err != nil {
		return err
	}
	message := text + ".\r\n"
	for range n {
		if err := say("MAIL FROM:<a@example.net>\r\nRCPT TO:<"+to+">\r\nDATA\r\n", "250", "250", "354"); err != nil {
			return err
		}
		if err := say(message, "250"); err != nil {
			return err
		}
	}
	return say("QUIT\r\n", "221")
}
