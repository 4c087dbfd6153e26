package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailsrv/bench/subject"
)

// client is one POP3 session.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(s server) *client {
	c, err := net.Dial("tcp", s.addr())
	check(err)
	check(c.SetDeadline(time.Now().Add(5 * time.Minute)))
	p := &client{c, bufio.NewReaderSize(c, 64<<10)}
	p.ok()
	return p
}

func (c *client) ok() {
	line, err := c.in.ReadSlice('\n')
	if err != nil || line[0] != '+' {
		log.Panicf("%q, %v", line, err)
	}
}

func (c *client) do(command string) {
	_, err := c.Write([]byte(command + "\r\n"))
	check(err)
	c.ok()
}

// list reads to the final dot and counts the lines.
func (c *client) list(command string) (lines int) {
	c.do(command)
	for {
		line, err := c.in.ReadSlice('\n')
		check(err)
		if string(line) == ".\r\n" {
			return lines
		}
		lines++
	}
}

func login(s server, user string) *client {
	c := dial(s)
	c.do("USER " + user)
	c.do("PASS " + subject.Password)
	return c
}

func (c *client) quit() {
	c.do("QUIT")
	check(c.Close())
}

// big measures sessions on the big mailbox.
func big(t *table, s server) {
	took := func(what string, f func()) {
		start := time.Now()
		f()
		t.add(what, s, time.Since(start).Seconds(), "s")
	}
	var c *client
	s.forget()
	took("first login and STAT", func() { c = login(s, "u0"); c.do("STAT") })
	c.quit()
	// A login right after another is the usual case of a polling client.
	took("repeated login and STAT", func() { c = login(s, "u0"); c.do("STAT") })
	n := 0
	took("UIDL", func() { n = c.list("UIDL") })
	took("LIST", func() { c.list("LIST") })
	took("RETR of 1,000, one by one", func() {
		for i := range min(n, 1000) {
			c.list(fmt.Sprintf("RETR %d", n-i))
		}
	})
	c.quit()
	// One more message has come.
	file := s.maildir("u0") + fmt.Sprintf("/new/%d.M1P1.bench", time.Now().UnixNano())
	check(os.WriteFile(file, []byte("Subject: new\n\nnew\n"), 0o600))
	s.own(file)
	took("login and STAT after new mail", func() { c = login(s, "u0"); c.do("STAT") })
	c.quit()
}

// crowd measures what idle sessions cost, and logins beside them.
func crowd(t *table, s server, idle int) {
	login(s, "u1").quit()
	before := s.rss()
	var held []*client
	start := time.Now()
	for i := 1; i <= idle; i++ {
		held = append(held, login(s, fmt.Sprintf("u%d", i)))
	}
	t.add(fmt.Sprintf("%d sessions opened one after another", idle), s, time.Since(start).Seconds(), "s")
	t.add("memory of an idle session", s, float64(s.rss()-before)/1024/float64(idle), "KiB")
	var n atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(3 * time.Second)
	for w := range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				login(s, fmt.Sprintf("p%d", w)).quit()
				n.Add(1)
			}
		})
	}
	wg.Wait()
	t.add("logins a second beside them, 4 clients", s, float64(n.Load())/3, "/s")
	for _, c := range held {
		c.quit()
	}
}

// table keeps the figures in the order they were first taken.
type table struct {
	rows  []string
	units map[string]string
	cells map[[2]string][]float64
}

func newTable() *table {
	return &table{units: map[string]string{}, cells: map[[2]string][]float64{}}
}

func (t *table) add(what string, s server, v float64, unit string) {
	if !slices.Contains(t.rows, what) {
		t.rows = append(t.rows, what)
	}
	t.units[what] = unit
	at := [2]string{what, s.name()}
	t.cells[at] = append(t.cells[at], v)
}

func (t *table) print(all []server) {
	fmt.Printf("%-40s", "median")
	for _, s := range all {
		fmt.Printf("%14s", s.name())
	}
	fmt.Println()
	for _, row := range t.rows {
		fmt.Printf("%-40s", row)
		for _, s := range all {
			v := t.cells[[2]string{row, s.name()}]
			slices.Sort(v)
			fmt.Printf("%10.3f %-3s", v[len(v)/2], t.units[row])
		}
		fmt.Println()
	}
	fmt.Println(strings.Repeat("-", 40))
}
