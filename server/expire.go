package server

import (
	"context"
	"time"
)

// expireEvery is how often deleted mail is looked for that has been kept long
// enough. It is kept by the hour.
const expireEvery = time.Hour

func (s *Server) expire(ctx context.Context) {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	for {
		messages, octets, err := s.store.Expire(ctx)
		if messages > 0 {
			s.log.Info("deleted mail removed for good", "messages", messages, "octets", octets, "keep_deleted", s.cfg().Mailbox.KeepDeleted.String())
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("deleted mail cannot be removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
