//go:build !windows

package dns

import (
	"fmt"
	"net"

	mdns "github.com/miekg/dns"
)

const resolvConf = "/etc/resolv.conf"

// SystemServers lists the resolvers this machine uses, addr:port, in order.
func SystemServers() ([]string, error) { return readResolvConf(resolvConf) }

func readResolvConf(file string) ([]string, error) {
	conf, err := mdns.ClientConfigFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("resolvers of this machine: %w", err)
	}
	var out []string
	for _, s := range conf.Servers {
		out = append(out, net.JoinHostPort(s, conf.Port))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("resolvers of this machine: %s names none", file)
	}
	return out, nil
}
