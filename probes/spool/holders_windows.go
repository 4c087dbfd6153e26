package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/windows"

	"mailsrv/probes/host"
)

// holders finds, for each spool and lock file, whether another process has it
// open for writing, and which one as far as Windows tells.
func (s *scanner) holders(ctx context.Context) {
	for i := range s.boxes {
		b := &s.boxes[i]
		if b.Spool != nil {
			b.Holders, _ = holdersOf(b.Spool.Path)
		}
		for j := range b.Locks {
			if l := &b.Locks[j]; l.Type == "file" && l.Kind != Mailsrv {
				l.Holders, l.HoldersKnown = holdersOf(l.Path)
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// holdersOf tries to open a file in the way that Windows refuses while another
// has it open for writing. Nothing stays open.
func holdersOf(path string) (who []host.Process, known bool) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, false
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case err == nil:
		_ = windows.CloseHandle(h)
		return nil, true
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION), errors.Is(err, windows.ERROR_LOCK_VIOLATION):
		if who = users(name); len(who) == 0 {
			who = []host.Process{{}} // somebody
		}
		return who, true
	}
	return nil, false
}

var (
	rstrtmgr            = windows.NewLazySystemDLL("rstrtmgr.dll")
	rmStartSession      = rstrtmgr.NewProc("RmStartSession")
	rmRegisterResources = rstrtmgr.NewProc("RmRegisterResources")
	rmGetList           = rstrtmgr.NewProc("RmGetList")
	rmEndSession        = rstrtmgr.NewProc("RmEndSession")
)

// users asks the Restart Manager who has a file open. It is the only way to
// find out without administrator rights.
func users(name *uint16) []host.Process {
	for _, p := range []*windows.LazyProc{rmStartSession, rmRegisterResources, rmGetList, rmEndSession} {
		if p.Find() != nil {
			return nil
		}
	}
	var session uint32
	var key [33]uint16 // CCH_RM_SESSION_KEY and the NUL
	if r, _, _ := rmStartSession.Call(uintptr(unsafe.Pointer(&session)), 0, uintptr(unsafe.Pointer(&key[0]))); r != 0 {
		return nil
	}
	defer func() { _, _, _ = rmEndSession.Call(uintptr(session)) }()
	if r, _, _ := rmRegisterResources.Call(uintptr(session), 1, uintptr(unsafe.Pointer(&name)), 0, 0, 0, 0); r != 0 {
		return nil
	}
	const (
		most  = 8
		entry = 668 // RM_PROCESS_INFO, which begins with the process id
	)
	buf := make([]byte, most*entry)
	var needed, reasons uint32
	n := uint32(most)
	if r, _, _ := rmGetList.Call(uintptr(session), uintptr(unsafe.Pointer(&needed)), uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&reasons))); r != 0 {
		return nil
	}
	var out []host.Process
	for i := range int(min(n, most)) {
		pid := int(binary.LittleEndian.Uint32(buf[i*entry:]))
		if p, ok := host.ProcessOf(pid); ok {
			out = append(out, p)
		}
	}
	return out
}
