package server

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/policy"
	"mailsrv/server/smtp"
	"mailsrv/server/store"
)

// backend joins the SMTP engine to policy and store.
type backend struct {
	policy *policy.Policy
	store  store.Store
	log    *slog.Logger
}

// Begin implements smtp.Backend.
func (b *backend) Begin(id string, c smtp.Client) smtp.Transaction {
	return &transaction{
		backend: b, id: id,
		request: policy.Request{Client: c.Addr.Addr(), Listener: c.Service, HELO: c.HELO, User: c.User},
		log:     b.log.With("session", c.Session, "id", id, "client", c.Addr.Addr().String()),
	}
}

type transaction struct {
	*backend
	id      string
	log     *slog.Logger
	request policy.Request
	boxes   []store.Box
}

func (t *transaction) Mail(from address.Address) (address.Address, smtp.Reply) {
	t.request.Sender = from
	d := t.policy.Sender(t.request)
	if d.Verdict != policy.Accept {
		t.log.Warn("sender refused", "from", from.String(), "rule", d.Rule, "reply", d.Reply())
	}
	t.request.Sender = d.Sender
	return d.Sender, reply(d)
}

func (t *transaction) Rcpt(to address.Address) (address.Address, smtp.Reply) {
	t.request.Recipient = to
	d := t.policy.Recipient(t.request)
	if d.Verdict != policy.Accept {
		t.log.Warn("recipient refused", "from", t.request.Sender.String(), "to", to.String(), "rule", d.Rule, "why", d.Rules[len(d.Rules)-1].Why, "reply", d.Reply())
	}
	for _, a := range d.Boxes {
		// Two addresses of one person are one copy.
		if box := boxOf(a); !slices.Contains(t.boxes, box) {
			t.boxes = append(t.boxes, box)
		}
	}
	return d.Recipient, reply(d)
}

func boxOf(a account.Account) store.Box { return store.Box{Name: a.Name, Domain: a.Domain} }

func reply(d policy.Decision) smtp.Reply {
	return smtp.Reply{Code: d.Code, Enhanced: d.Enhanced, Text: d.Text}
}

func (t *transaction) Data() (smtp.Message, smtp.Reply) {
	m, err := t.store.Begin(t.id, t.boxes)
	if err != nil {
		return nil, t.storeFailed(err)
	}
	msg := &message{Incoming: m, t: t}
	// Final delivery records the sender (RFC 5321 4.4). A failed write shows
	// again in Commit.
	_, _ = fmt.Fprintf(msg, "Return-Path: <%s>\r\n", t.request.Sender)
	return msg, smtp.Reply{}
}

func (t *transaction) storeFailed(err error) smtp.Reply {
	t.log.Error("message cannot be stored", "error", err)
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrReadOnly) {
		return smtp.Reply{Code: 452, Enhanced: "4.3.1", Text: "Insufficient system storage; try again later"}
	}
	return smtp.Reply{Code: 451, Enhanced: "4.3.0", Text: "Message cannot be stored at present; try again later"}
}

type message struct {
	store.Incoming
	t *transaction
}

func (m *message) Commit() smtp.Reply {
	if err := m.Incoming.Commit(); err != nil {
		return m.t.storeFailed(err)
	}
	names := make([]string, len(m.t.boxes))
	for i, b := range m.t.boxes {
		names[i] = b.String()
	}
	m.t.log.Info("message delivered", "mailboxes", strings.Join(names, " "))
	return smtp.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok"}
}
