package port

import (
	"context"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"

	"mailsrv/probes/host"
)

var getExtendedTCPTable = windows.NewLazySystemDLL("iphlpapi.dll").NewProc("GetExtendedTcpTable")

const tableOwnerPIDListener = 3 // TCP_TABLE_OWNER_PID_LISTENER

func listeners(ctx context.Context) ([]Holder, error) {
	if err := getExtendedTCPTable.Find(); err != nil {
		return nil, err
	}
	known := map[uint32]host.Process{}
	var out []Holder
	for _, af := range []uint32{windows.AF_INET, windows.AF_INET6} {
		table, err := tcpTable(af)
		if err != nil {
			return nil, err
		}
		for _, r := range parseTCPTable(table, af == windows.AF_INET6) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p, ok := known[r.pid]
			if !ok {
				p, _ = host.ProcessOf(int(r.pid))
				known[r.pid] = p
			}
			out = append(out, Holder{Local: r.local, Process: p})
		}
	}
	return out, nil
}

// tcpTable fetches the table; it may grow between asking for its size and
// fetching it.
func tcpTable(af uint32) ([]byte, error) {
	size := uint32(16 << 10)
	for {
		buf := make([]byte, size)
		r, _, _ := getExtendedTCPTable.Call(uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0,
			uintptr(af), tableOwnerPIDListener, 0)
		switch e := syscall.Errno(r); e {
		case 0:
			return buf, nil
		case windows.ERROR_INSUFFICIENT_BUFFER:
			size += 4096
		default:
			return nil, e
		}
	}
}
