package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"

	"mailsrv/server/config"
	"mailsrv/server/deliver"
	"mailsrv/server/web"
)

// Reload replaces the configuration while the server runs. Sessions under way
// go on as they began; new ones follow the new configuration, and so does what
// is in the queue. Listeners that stay are not closed for a moment; of the
// others all that is new is opened before anything that is gone is closed.
// After an error nothing has changed. restart names the settings that were not
// taken over, because only a restart can.
func (s *Server) Reload(ctx context.Context, cfg *config.Config) (restart []string, err error) {
	select {
	case <-s.serving:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.stopping.Load() {
		return nil, errors.New("the server is stopping")
	}
	defer func() {
		result := "ok"
		if err != nil {
			result = "failed"
		}
		if s.user != nil && errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: root's rights are gone since the start, only a restart can do that", err)
		}
		reloads.Add(1, result)
	}()
	old := s.state.Load().cfg
	if cfg.DataDir != old.DataDir {
		restart = append(restart, "data_dir")
	}
	if cfg.User != old.User {
		restart = append(restart, "user")
	}
	if cfg.Mailbox.KeepDeleted != old.Mailbox.KeepDeleted {
		restart = append(restart, "mailbox.keep_deleted")
	}
	if len(restart) > 0 {
		c := *cfg
		c.DataDir, c.User, c.Mailbox.KeepDeleted = old.DataDir, old.User, old.Mailbox.KeepDeleted
		cfg = &c
	}
	st, err := s.prepare(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.relisten(st); err != nil {
		return nil, err
	}
	st.client.Own = deliver.OwnAddrs(s.smtpAddrs())
	s.state.Store(st)
	s.group.SetLimits(connLimits(cfg))
	s.queue.Configure(s.queueOptions(st))
	return restart, s.announce()
}

// relisten brings the listeners in line with a state.
func (s *Server) relisten(st *state) error {
	want := slices.Concat(st.cfg.Listen, st.cfg.Web)
	same := func(a, b config.Listener) bool { return a.Service == b.Service && a.Addr == b.Addr }
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept, gone []*bound
	for _, b := range s.bound {
		i := slices.IndexFunc(want, func(l config.Listener) bool { return same(l, b.Listener) })
		if i < 0 {
			gone = append(gone, b)
			continue
		}
		kept = append(kept, b)
		want = slices.Delete(want, i, i+1)
	}
	opened, err := s.open(want)
	if err != nil {
		return err
	}
	for _, b := range gone {
		_ = b.ln.Close()
		s.log.Info("no longer listening", "service", b.Service, "addr", b.ln.Addr().String())
	}
	for _, b := range kept {
		if b.service != nil {
			b.service.Handle(s.handler(b.Listener, st))
		}
	}
	for _, b := range opened {
		s.serve(b, st)
	}
	s.bound = append(kept, opened...)
	return nil
}

// webs are the HTTP listeners.
type webs struct {
	s   *Server
	ctx context.Context
	wg  sync.WaitGroup
}

func (w *webs) serve(ln net.Listener) {
	h := &web.Server{Metrics: w.s.writeMetrics, Health: w.s.health, Log: w.s.log}
	w.wg.Go(func() { h.Serve(w.ctx, ln) })
}
