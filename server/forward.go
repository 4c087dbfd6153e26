package server

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"mailsrv/server/account"
	"mailsrv/server/conn"
	"mailsrv/server/queue"
	"mailsrv/server/smtp"
)

// forward is one copy of a message that goes to other hosts because a local
// address is forwarded there. It is a message of its own in the queue: it keeps
// the sender, and on top of it stands which address sent it on.
type forward struct {
	via string
	to  []queue.Recipient
}

func (t *transaction) forward(r account.Remote, asked smtp.Recipient) {
	i := slices.IndexFunc(t.sentOn, func(f forward) bool { return f.via == r.Via })
	if i < 0 {
		i = len(t.sentOn)
		t.sentOn = append(t.sentOn, forward{via: r.Via})
	}
	to := &t.sentOn[i].to
	if !slices.ContainsFunc(*to, func(q queue.Recipient) bool { return q.Address == r.To }) {
		*to = append(*to, queue.Recipient{Address: r.To, Notify: asked.Notify, ORCPT: asked.ORCPT})
	}
}

// beginForwards opens the copies in the queue.
func (t *transaction) beginForwards() (copies []*queue.Incoming, err error) {
	for _, f := range t.sentOn {
		c, err := t.queue.Begin(queue.Envelope{ID: conn.NewID(), Sender: t.request.Sender.String(),
			UTF8: t.from.UTF8, Ret: t.from.Ret, EnvID: t.from.EnvID, Recipients: f.to})
		if err != nil {
			for _, c := range copies {
				c.Abort()
			}
			return nil, err
		}
		copies = append(copies, c)
		t.log.Info("message is sent on", "via", f.via, "to", len(f.to), "queue_id", c.ID())
		if _, err := io.WriteString(c, "Delivered-To: "+f.via+"\r\n"); err != nil {
			continue // shows again in Prepare
		}
	}
	return copies, nil
}

// goesRound refuses a message that an address here has sent on before.
func (t *transaction) goesRound(h *header) *smtp.Reply {
	if len(t.sentOn) == 0 {
		return nil
	}
	for _, been := range h.values("Delivered-To") {
		for _, f := range t.sentOn {
			if strings.EqualFold(been, f.via) {
				t.log.Warn("forwards go in a circle through another host", "via", f.via)
				return &smtp.Reply{Code: 554, Enhanced: "5.4.6", Text: fmt.Sprintf("Mail for <%s> goes in a circle: it has been sent on from here before", f.via)}
			}
		}
	}
	return nil
}
