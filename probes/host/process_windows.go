package host

import (
	"errors"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// ProcessOf returns the process of that id; ok is false when there is none.
// Process 4 is the kernel, which also listens for http.sys.
func ProcessOf(pid int) (p Process, ok bool) {
	if pid <= 0 {
		return Process{}, false
	}
	p.PID = pid
	if pid == 4 {
		p.Program = "System"
		return p, true
	}
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		// No such process is "invalid parameter"; anything else hides one.
		return p, !errors.Is(err, windows.ERROR_INVALID_PARAMETER)
	}
	defer windows.CloseHandle(h)
	var code uint32
	const stillActive = 259
	if windows.GetExitCodeProcess(h, &code) == nil && code != stillActive {
		return Process{}, false
	}
	buf := make([]uint16, windows.MAX_LONG_PATH)
	n := uint32(len(buf))
	if windows.QueryFullProcessImageName(h, 0, &buf[0], &n) == nil {
		p.Path = windows.UTF16ToString(buf[:n])
		p.Program = filepath.Base(p.Path)
	}
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(h, &created, &exited, &kernel, &user) == nil {
		p.Started = time.Unix(0, created.Nanoseconds())
	}
	p.Unit = serviceOf(uint32(pid))
	return p, true
}

// serviceOf names the Windows services that run in a process.
func serviceOf(pid uint32) string {
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return ""
	}
	defer windows.CloseServiceHandle(m)
	var need, count uint32
	err = windows.EnumServicesStatusEx(m, windows.SC_ENUM_PROCESS_INFO, windows.SERVICE_WIN32, windows.SERVICE_ACTIVE, nil, 0, &need, &count, nil, nil)
	if !errors.Is(err, windows.ERROR_MORE_DATA) || need == 0 {
		return ""
	}
	buf := make([]byte, need+4096) // services may start between the two calls
	err = windows.EnumServicesStatusEx(m, windows.SC_ENUM_PROCESS_INFO, windows.SERVICE_WIN32, windows.SERVICE_ACTIVE, &buf[0], uint32(len(buf)), &need, &count, nil, nil)
	if err != nil {
		return ""
	}
	var names []string
	for _, s := range unsafe.Slice((*windows.ENUM_SERVICE_STATUS_PROCESS)(unsafe.Pointer(&buf[0])), count) {
		if s.ServiceStatusProcess.ProcessId == pid {
			names = append(names, windows.UTF16PtrToString(s.ServiceName))
		}
	}
	return strings.Join(names, " ")
}

// UserName has no meaning on Windows, whose owners are no numbers.
func UserName(int) string { return "" }

// FileLimit: Windows has no such limit.
func FileLimit(int) (soft, hard uint64, err error) { return 0, 0, errors.ErrUnsupported }
