package port

import (
	"encoding/binary"
	"net/netip"
)

// row is one listening socket of a Windows TCP table.
type row struct {
	local netip.AddrPort
	pid   uint32
}

// parseTCPTable reads MIB_TCPTABLE_OWNER_PID or MIB_TCP6TABLE_OWNER_PID: a
// count, then rows. Addresses and ports are in network order.
func parseTCPTable(b []byte, v6 bool) []row {
	size, at, portAt, pidAt := 24, 4, 8, 20
	if v6 {
		size, at, portAt, pidAt = 56, 0, 20, 52
	}
	if len(b) < 4 {
		return nil
	}
	n := int(binary.LittleEndian.Uint32(b))
	b = b[4:]
	var out []row
	for ; n > 0 && len(b) >= size; n, b = n-1, b[size:] {
		var a netip.Addr
		if v6 {
			a = netip.AddrFrom16([16]byte(b[at : at+16]))
		} else {
			a = netip.AddrFrom4([4]byte(b[at : at+4]))
		}
		out = append(out, row{
			netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[portAt:])),
			binary.LittleEndian.Uint32(b[pidAt:]),
		})
	}
	return out
}
