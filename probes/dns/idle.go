package dns

import (
	"context"
	"net"
	"slices"

	"mailsrv/probes/dial"
)

// Sockets towards the resolvers are used again: opening one costs as much as a
// question over loopback.
const (
	maxIdle = 64 // sockets kept
	maxUses = 32 // questions over one socket, so that source ports stay hard to guess
)

type socket struct {
	net.Conn
	server string
	uses   int
}

// conn returns an idle socket, or opens one.
func (c *Client) conn(ctx context.Context, network, server string) (net.Conn, error) {
	if network == "udp" {
		c.mu.Lock()
		for i := len(c.idle) - 1; i >= 0; i-- {
			if s := c.idle[i]; s.server == server {
				c.idle = slices.Delete(c.idle, i, i+1)
				c.mu.Unlock()
				return s, nil
			}
		}
		c.mu.Unlock()
	}
	dialer := c.Dialer
	if dialer == nil {
		dialer = dial.System
	}
	conn, err := dialer.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	return &socket{Conn: conn, server: server}, nil
}

// keep takes back a socket whose last question was answered; false when it is
// to be closed.
func (c *Client) keep(network, server string, conn net.Conn) bool {
	s, ok := conn.(*socket)
	if !ok || network != "udp" || !slices.Contains(c.Servers, server) {
		return false
	}
	if s.uses++; s.uses >= maxUses {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) >= maxIdle {
		return false
	}
	c.idle = append(c.idle, s)
	return true
}

// Close closes the idle sockets. The client can be used on.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.idle {
		_ = s.Close()
	}
	c.idle = nil
}
