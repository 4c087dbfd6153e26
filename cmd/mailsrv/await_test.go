package main

import (
	"net"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { scriptCommands["awaitport"] = awaitPort }

// awaitPort waits until something accepts connections: "awaitport
// 127.0.0.1:$POP3".
func awaitPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: awaitport ADDR:PORT")
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", args[0], time.Second)
		if err == nil {
			ts.Check(c.Close())
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nothing listens on %s: %v", args[0], err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
