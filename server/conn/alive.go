package conn

import (
	"net"
	"time"
)

// Alive makes the system ask a silent client's machine now and then whether the
// connection still exists, and end it when there was no answer for about d: a
// machine that lost its power does not say goodbye.
func (c *Conn) Alive(d time.Duration) {
	if t, ok := c.raw.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: d / 2, Interval: d / 8, Count: 4})
	}
}
