package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"

	own "mailsrv/server/metrics"
	"mailsrv/server/safeio"
	"mailsrv/server/store"
)

var (
	crashes = own.NewCounter("mailsrv_session_crashes_total", "Sessions that ended in a crash; DATA_DIR/crash has the details.")
	reloads = own.NewCounter("mailsrv_config_reloads_total", "Reloads of the configuration.", "result")
)

// writeMetrics writes what /metrics shows.
func (s *Server) writeMetrics(w io.Writer) {
	own.Gauges(w, "mailsrv_build_info", "The version that runs; always 1.", "version", map[string]int{s.version: 1})
	own.Gauge(w, "process_start_time_seconds", "When the server started, in seconds since 1970.", s.started.Unix())
	own.Gauge(w, "go_goroutines", "Goroutines that exist.", runtime.NumGoroutine())
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	own.Gauge(w, "go_memory_bytes", "Memory that the Go runtime has from the system.", sample[0].Value.Uint64())
	processMetrics(w)
	own.Gauges(w, "mailsrv_sessions", "Sessions under way.", "service", s.group.Open())
	st := s.state.Load()
	own.Gauge(w, "mailsrv_sessions_max", "limits.connections: how many sessions there can be.", st.cfg.Limits.Connections)
	if free, _, ok := (&safeio.OS{}).Room(s.dataDir); ok {
		own.Gauge(w, "mailsrv_data_free_bytes", "Room on the disk of the data directory.", free)
	}
	if st.tls != nil {
		own.Gauge(w, "mailsrv_certificate_expires_seconds", "When the TLS certificate ends, in seconds since 1970.", st.tls.Certificates[0].Leaf.NotAfter.Unix())
	}
	q := s.queue.Stats()
	own.Gauge(w, "mailsrv_queue_messages", "Messages in the queue.", q.Messages)
	own.Gauge(w, "mailsrv_queue_connections", "Connections of the queue to other hosts.", q.Connections)
	paused := 0
	if q.Paused {
		paused = 1
	}
	own.Gauge(w, "mailsrv_queue_paused", "1 while the queue is on hold as a whole.", paused)
	own.Total(w, "mailsrv_queue_delivered_total", "Recipients that other hosts have taken.", q.Delivered)
	own.Total(w, "mailsrv_queue_deferred_total", "Attempts that will be repeated.", q.Deferred)
	own.Total(w, "mailsrv_queue_failed_total", "Recipients given up.", q.Failed)
	own.Total(w, "mailsrv_queue_notices_total", "Notices to senders: failure, delay, success.", q.Notices)
	own.Write(w)
}

// health tells whether mail can be taken in: whoever asks often gets an answer
// that was true just now, for one small file.
func (s *Server) health() error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	f, err := os.CreateTemp(s.dataDir, ".health-*")
	if err == nil {
		_, err = f.Write(make([]byte, 4096))
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("data directory %s cannot be written: %w", filepath.Base(s.dataDir), store.DiskError(err))
	}
	return nil
}
