// Package porttest finds ports for tests that must know a port before anything
// listens on it, or that nothing will.
package porttest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range lies below those that systems give out by themselves (32768 on
// Linux, 49152 elsewhere), so that no listener on port 0 and no outgoing
// connection of another test takes the port in between.
const (
	first = 12000
	last  = 31999
)

var (
	mu    sync.Mutex
	given = map[int]bool{}
)

// Free is a TCP and UDP port that nobody listens on, on any address. It is given
// out once in a process.
func Free() (string, error) {
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		port := first + rand.IntN(last-first+1)
		if given[port] || !free(port) {
			continue
		}
		given[port] = true
		return strconv.Itoa(port), nil
	}
	return "", errors.New("no free port found in 1000 tries")
}

func free(port int) bool {
	addr := ":" + strconv.Itoa(port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	pc, err := net.ListenPacket("udp", addr)
	if err == nil {
		err = pc.Close()
	}
	return errors.Join(l.Close(), err) == nil
}
