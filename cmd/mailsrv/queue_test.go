package main

import (
	"net/smtp"
	"net/textproto"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	scriptCommands["sendto"] = sendTo
	scriptCommands["sendfrom"] = sendFrom
	scriptCommands["eventually"] = eventually
	scriptCommands["lastmail"] = lastMail
}

// sendTo sends a file to others: "sendto PORT USER PASSWORD FILE TO...". USER is
// the sender, too.
func sendTo(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[3]), "\n", "\r\n")
	err := send("127.0.0.1:"+args[0], smtp.PlainAuth("", args[1], args[2], "127.0.0.1"), args[1], args[4:], text)
	if neg != (err != nil) {
		ts.Fatalf("sendto: %v", err)
	}
}

// sendFrom sends a file as a stranger, with the plainest of SMTP: "sendfrom PORT
// SENDER FILE TO...".
func sendFrom(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: sendfrom PORT SENDER FILE TO...")
	}
	c, err := textproto.Dial("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	defer c.Close()
	commands := []string{"", "EHLO [127.0.0.1]", "MAIL FROM:<" + args[1] + ">"}
	for _, to := range args[3:] {
		commands = append(commands, "RCPT TO:<"+to+">")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[2]), "\n", "\r\n")
	for _, command := range append(commands, "DATA", text+".", "QUIT") {
		if command != "" {
			ts.Check(c.PrintfLine("%s", command))
		}
		code, answer, err := c.ReadResponse(0)
		ts.Check(err)
		if code >= 400 {
			ts.Fatalf("sendfrom: %q: %d %s", command, code, answer)
		}
	}
}

// eventually runs a program until its standard output matches: "eventually
// 'PATTERN' mailsrv queue list".
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN PROGRAM ARG...")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		out := ts.ReadFile("stdout")
		if want.MatchString(out) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%q does not come:\n%s", args[0], out)
		}
	}
}

// lastMail waits until a mailbox has N messages and writes the last one, whole,
// to a file: "lastmail N PORT USER PASSWORD FILE".
func lastMail(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: lastmail N PORT USER PASSWORD FILE")
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		all, err := popAll("127.0.0.1:"+args[1], args[2], args[3])
		ts.Check(err)
		if n := len(all); strconv.Itoa(n) == args[0] {
			ts.Check(os.WriteFile(ts.MkAbs(args[4]), []byte(all[n-1]), 0o600))
			return
		} else if time.Now().After(end) {
			ts.Fatalf("%s has %d messages", args[2], n)
		}
	}
}
