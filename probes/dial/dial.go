// Package dial opens the connections of every probe, and names what went wrong
// with one. Probes take a Dialer, so that a test or a lab can lead each
// connection elsewhere with a Map.
package dial

import (
	"context"
	"net"
)

// Dialer opens a connection; *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// System dials as the operating system does.
var System Dialer = &net.Dialer{}
