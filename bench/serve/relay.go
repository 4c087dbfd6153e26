package main

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// relayTo is the smart host that the servers are set up with; empty: none.
var relayTo string

// relay measures how long messages take through the queue to one smart host:
// from the first connection that brings them to the last 250 of the smart host.
func relay(servers []func(dir string) server, dir string, n, rounds int) {
	sink := newSink()
	relayTo = sink.addr
	var all []server
	for i, start := range servers {
		s := start(filepath.Join(dir, fmt.Sprint("relay", i)))
		defer s.stop()
		all = append(all, s)
	}
	l := load{conns: 10, each: n / 10, size: 4096, times: 1}
	took, cpu := map[string][]time.Duration{}, all[0].cpu()
	for range rounds {
		for _, s := range all {
			took[s.name()] = append(took[s.name()], l.relay(s, sink))
		}
	}
	cpu = all[0].cpu() - cpu
	fmt.Printf("%d messages of %d octets, brought over %d connections, through the queue to one smart host (median of %d rounds, servers in turn):\n", l.total(), l.size, l.conns, rounds)
	for _, s := range all {
		t := took[s.name()]
		slices.Sort(t)
		fmt.Printf("%-8s %6.2f s\n", s.name(), t[len(t)/2].Seconds())
	}
	fmt.Printf("CPU of %s: %.2f ms per message\n", all[0].name(), float64(cpu.Microseconds())/1000/float64(rounds*l.total()))
}

// relay returns how long it took until the smart host had all messages.
func (l load) relay(s server, sink *sink) time.Duration {
	text := l.text()
	want := sink.taken.Load() + int64(l.total())
	started := time.Now()
	var wg sync.WaitGroup
	for range l.conns {
		wg.Go(func() { check(sessionTo(s.addr(), "someone@example.net", text, l.each)) })
	}
	wg.Wait()
	for sink.taken.Load() < want {
		if time.Since(started) > 5*time.Minute {
			check(fmt.Errorf("%s: %d messages have not reached the smart host", s.name(), want-sink.taken.Load()))
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(started)
}

// sink is a smart host that takes everything and keeps nothing.
type sink struct {
	addr  string
	taken atomic.Int64
}

func newSink() *sink {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	s := &sink{addr: ln.Addr().String()}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *sink) serve(c net.Conn) {
	defer c.Close()
	in, out := bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
	say := func(reply string) { _, _ = out.WriteString(reply + "\r\n") }
	say("220 sink.example.net ESMTP")
	for {
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "EHLO":
			say("250-sink.example.net\r\n250-PIPELINING\r\n250 8BITMIME")
		case "DATA":
			say("354 Go on")
			if out.Flush() != nil {
				return
			}
			for line != ".\r\n" {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			s.taken.Add(1)
			say("250 2.0.0 Ok")
		case "QUIT":
			say("221 2.0.0 Bye")
			_ = out.Flush()
			return
		default:
			say("250 2.0.0 Ok")
		}
	}
}
