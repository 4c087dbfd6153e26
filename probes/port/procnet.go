package port

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// socket is one line of /proc/net/tcp or tcp6.
type socket struct {
	local netip.AddrPort
	state byte
	uid   int
	inode uint64
}

const stateListen = 0x0A

// parseProcNet reads the text of /proc/net/tcp or /proc/net/tcp6 (proc(5)).
// Lines that are no socket are left out; the format has only ever grown at the
// end of its lines.
func parseProcNet(text string) []socket {
	var out []socket
	first := true
	for line := range strings.Lines(text) {
		if first {
			first = false // headings
			continue
		}
		if s, err := parseSocket(line); err == nil {
			out = append(out, s)
		}
	}
	return out
}

// parseSocket reads "sl local_address rem_address st tx:rx tr:when retr uid
// timeout inode ...".
func parseSocket(line string) (socket, error) {
	var s socket
	f := strings.Fields(line)
	if len(f) < 10 {
		return s, fmt.Errorf("%d fields, want 10 or more", len(f))
	}
	var err error
	if s.local, err = parseHexAddr(f[1]); err != nil {
		return s, err
	}
	state, err := strconv.ParseUint(f[3], 16, 8)
	if err != nil {
		return s, err
	}
	s.state = byte(state)
	if s.uid, err = strconv.Atoi(f[7]); err != nil {
		return s, err
	}
	s.inode, err = strconv.ParseUint(f[9], 10, 64)
	return s, err
}

// parseHexAddr reads "0100007F:1F90": 32-bit words as this machine stores
// them, and the port as a plain number.
func parseHexAddr(s string) (netip.AddrPort, error) {
	addr, port, ok := strings.Cut(s, ":")
	if !ok || len(addr) != 8 && len(addr) != 32 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address in hex", s)
	}
	b, err := hex.DecodeString(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}
