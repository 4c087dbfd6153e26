package porttest

import (
	"net"
	"testing"
)

func TestFree(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		port, err := Free()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %s was given twice", port)
		}
		seen[port] = true
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("port %s: %v", port, err)
		}
		if free(l.Addr().(*net.TCPAddr).Port) {
			t.Errorf("port %s is said to be free", port)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
