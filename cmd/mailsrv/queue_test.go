package main

import (
	"net/smtp"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	scriptCommands["sendto"] = sendTo
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
