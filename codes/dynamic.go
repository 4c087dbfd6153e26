package codes

import (
	"strings"
	"sync"
)

var dynamicZones = sync.OnceValue(func() map[string]bool {
	zones := map[string]bool{}
	for line := range strings.Lines(dynamicDNSData) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			zones[line] = true
		}
	}
	return zones
})

// DynamicDNS names the zone of a dynamic DNS service that a host name lies in.
// Of a name in no known one it says nothing: services come and go, and some
// serve their customers' own domains.
func DynamicDNS(name string) (zone string, ok bool) {
	at := strings.ToLower(strings.TrimSuffix(name, "."))
	for {
		_, rest, more := strings.Cut(at, ".")
		if !more {
			return "", false
		}
		if at = rest; dynamicZones()[at] {
			return at, true
		}
	}
}
