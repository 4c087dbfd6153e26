package dns

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

// SystemServers lists the resolvers of the adapters that are up, addr:port.
func SystemServers() ([]string, error) {
	size := uint32(15000) // what Microsoft advises to begin with
	var buf []byte
	for {
		buf = make([]byte, size)
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC,
			windows.GAA_FLAG_SKIP_UNICAST|windows.GAA_FLAG_SKIP_ANYCAST|windows.GAA_FLAG_SKIP_MULTICAST,
			0, (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0])), &size)
		if err == nil {
			break
		}
		if !errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) || size <= uint32(len(buf)) {
			return nil, fmt.Errorf("resolvers of this machine: GetAdaptersAddresses: %w", err)
		}
	}
	var out []string
	for a := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0])); a != nil; a = a.Next {
		if a.OperStatus != windows.IfOperStatusUp {
			continue
		}
		for s := a.FirstDnsServerAddress; s != nil; s = s.Next {
			ip := s.Address.IP()
			if ip == nil || ip.To4() == nil && ip[0] == 0xfe && ip[1]&0xc0 == 0xc0 {
				continue // fec0::/10: placeholders of adapters without a resolver
			}
			if addr := net.JoinHostPort(ip.String(), "53"); !slices.Contains(out, addr) {
				out = append(out, addr)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("resolvers of this machine: no adapter that is up names one")
	}
	return out, nil
}
