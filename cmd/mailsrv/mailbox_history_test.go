package main

import (
	"net"
	"net/textproto"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { scriptCommands["popdelete"] = popDelete }

// popDelete deletes messages by POP3: "popdelete PORT USER PASSWORD NUMBER...".
func popDelete(ts *testscript.TestScript, neg bool, args []string) {
	raw, err := net.Dial("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	defer raw.Close()
	ts.Check(raw.SetDeadline(time.Now().Add(30 * time.Second)))
	c := textproto.NewConn(raw)
	_, err = c.ReadLine()
	ts.Check(err)
	commands := []string{"USER " + args[1], "PASS " + args[2]}
	for _, n := range args[3:] {
		commands = append(commands, "DELE "+n)
	}
	for _, command := range append(commands, "QUIT") {
		ts.Check(c.PrintfLine("%s", command))
		line, err := c.ReadLine()
		ts.Check(err)
		if !strings.HasPrefix(line, "+OK") {
			ts.Fatalf("%s: %s", command, line)
		}
	}
}
