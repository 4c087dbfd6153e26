package deliver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Resolver answers what delivery asks the DNS. *net.Resolver is one. Names are
// given with their final point, so that no search list applies.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// NewResolver asks servers, one after the other until one answers; without
// servers it asks the system's.
func NewResolver(servers []netip.AddrPort) Resolver {
	if len(servers) == 0 {
		return net.DefaultResolver
	}
	var all resolvers
	for _, s := range servers {
		all = append(all, &net.Resolver{
			PreferGo: true,
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, s.String())
			},
		})
	}
	return all
}

type resolvers []*net.Resolver

func (rs resolvers) LookupMX(ctx context.Context, name string) (out []*net.MX, err error) {
	for _, r := range rs {
		if out, err = r.LookupMX(ctx, name); answered(err) || len(out) > 0 {
			break
		}
	}
	return out, err
}

func (rs resolvers) LookupNetIP(ctx context.Context, network, host string) (out []netip.Addr, err error) {
	for _, r := range rs {
		if out, err = r.LookupNetIP(ctx, network, host); answered(err) {
			break
		}
	}
	return out, err
}

// answered tells whether a name server has spoken, be it to say that there is
// nothing.
func answered(err error) bool { return err == nil || notFound(err) }

func notFound(err error) bool {
	var dnsErr *net.DNSError
	return errors.As(err, &dnsErr) && dnsErr.IsNotFound
}

// asciiDomain is a domain as the DNS knows it: lower case, international
// labels in ASCII, no final point. What is no domain stays as it is.
func asciiDomain(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if isASCII(s) {
		return s
	}
	if a, err := idna.Lookup.ToASCII(s); err == nil {
		return a
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
