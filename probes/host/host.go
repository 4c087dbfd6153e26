// Package host asks what this machine and its processes are: names, addresses,
// room on the disk, open-file limits, and which program runs under a process
// id. It reads only, and says what it could not see instead of guessing.
package host

import (
	"net"
	"net/netip"
	"os"
	"slices"
)

// Addresses returns the addresses of this machine's interfaces that are up,
// loopback left out, IPv4 first. Link-local addresses carry no zone.
func Addresses() ([]netip.Addr, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, i := range ifs {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			if ip = ip.Unmap().WithZone(""); ok && !ip.IsLoopback() && !slices.Contains(out, ip) {
				out = append(out, ip)
			}
		}
	}
	slices.SortStableFunc(out, netip.Addr.Compare)
	return out, nil
}

// Name is the computer's own name as the operating system gives it; often a
// single label.
func Name() (string, error) { return os.Hostname() }

// Volume is what a file system has left.
type Volume struct {
	Path       string // the directory asked about, or its nearest existing parent
	Free       uint64 // octets that a process without special rights may still write
	Size       uint64
	FreeInodes uint64 // 0 with Inodes 0: the file system does not count them
	Inodes     uint64
	FSType     string // "ext4", "nfs", "NTFS"; empty when unknown
	Network    bool   // a network file system, on which locks and renames are not to be trusted
	ReadOnly   bool
}

// Access is what this process could do with a directory, found without
// touching it.
type Access struct {
	Exists   bool
	Nearest  string // the deepest part of the path that exists
	Writable bool   // files can be created in it, or it can be created below Nearest
	Err      error  // why not: an errno of the operating system
}

// Outward is the address of this machine from which a connection to the
// internet would come; the zero Addr when there is no way out. Nothing is sent:
// the kernel only chooses a route to an address that belongs to nobody
// (RFC 5737).
func Outward() netip.Addr {
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	ap, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
