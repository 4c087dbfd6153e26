package reach

import (
	"bufio"
	"crypto/tls"
	"testing"

	"mailsrv/probes/tlscert/certtest"
)

// serveTLS answers each connection, inside TLS, with the same octets.
func serveTLS(t *testing.T, answer string) string {
	t.Helper()
	cert := certtest.NewCA().Issue(certtest.Leaf{Names: []string{"192.0.2.1"}})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = c.Write([]byte(answer))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
