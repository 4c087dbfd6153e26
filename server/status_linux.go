package server

import (
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	own "mailsrv/server/metrics"
)

// processMetrics writes what monitoring asks of every process.
func processMetrics(w io.Writer) {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		seconds := func(t unix.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
		own.Total(w, "process_cpu_seconds_total", "Processor time used.", seconds(used.Utime)+seconds(used.Stime))
	}
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(data)); len(fields) > 1 {
			if pages, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				own.Gauge(w, "process_resident_memory_bytes", "Memory that is in use.", pages*int64(os.Getpagesize()))
			}
		}
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		own.Gauge(w, "process_open_fds", "Files and connections that are open.", len(open)-1) // one was for looking
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		own.Gauge(w, "process_max_fds", "How many files and connections may be open.", limit.Cur)
	}
}
