package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A message's file is named
//
//	1732212345.M012345P4711I2QK7XW9PZD.mail,S=4321,W=4321
//
// seconds and microseconds of its arrival, process and transaction id, the
// machine; S is its size in octets, W the same counted with CRLF line ends, as
// Dovecot writes them. Programs that read mail move it from new to cur and add
// ":2," and flags; the part before ",S=" never changes, and the UID is made of
// it.

// namer makes unique names in the order of arrival.
type namer struct {
	host string
	pid  int

	mu   sync.Mutex
	last int64 // microseconds since 1970
}

func newNamer() *namer {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	host, _, _ = strings.Cut(host, ".")
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, host)
	return &namer{host: host[:min(len(host), 20)], pid: os.Getpid()}
}

func (n *namer) next(id string) string {
	n.mu.Lock()
	n.last = max(n.last+1, time.Now().UnixMicro())
	t := n.last
	n.mu.Unlock()
	return fmt.Sprintf("%d.M%06dP%dI%s.%s", t/1e6, t%1e6, n.pid, id, n.host)
}

// parsed is what a file's name says.
type parsed struct {
	uid   string
	size  int64 // octets as sent by POP3; -1 when the name does not say
	raw   int64 // octets of the file; -2 when the name does not say
	order [2]int64
}

// flagsAt is where the flags of a name begin, -1 without any. A colon cannot
// stand in a file name on Windows.
func flagsAt(file string) int {
	return max(strings.LastIndex(file, ":2,"), strings.LastIndex(file, ";2,"))
}

func parseName(file string) parsed {
	p := parsed{size: -1, raw: -2}
	unique := file
	if i := flagsAt(file); i >= 0 {
		unique = file[:i]
	}
	fields := ""
	for _, field := range []string{",S=", ",W="} {
		if i := strings.Index(unique, field); i >= 0 {
			unique, fields = unique[:i], unique[i:]+fields
		}
	}
	p.uid = uidOf(unique)
	for field := range strings.SplitSeq(fields, ",") {
		if n, ok := number(field, "S="); ok {
			p.raw = n
		}
		if n, ok := number(field, "W="); ok {
			p.size = n
		}
	}
	p.order = orderOf(unique)
	return p
}

// orderOf is when a message arrived: seconds and microseconds.
func orderOf(unique string) (order [2]int64) {
	seconds, rest, _ := strings.Cut(unique, ".")
	order[0], _ = number(seconds, "")
	if micro, ok := strings.CutPrefix(rest, "M"); ok {
		digits := len(micro) - len(strings.TrimLeft(micro, "0123456789"))
		order[1], _ = number(micro[:digits], "")
	}
	return order
}

func number(s, prefix string) (int64, bool) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}

// uidOf keeps to what RFC 1939 7 allows in a unique-id.
func uidOf(unique string) string {
	clean := unique != "" && len(unique) <= 70
	for i := range len(unique) {
		clean = clean && unique[i] > ' ' && unique[i] < 0x7f
	}
	if clean {
		return unique
	}
	sum := sha256.Sum256([]byte(unique))
	return "sha256-" + hex.EncodeToString(sum[:20])
}
