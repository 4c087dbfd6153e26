package server

import (
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"

	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
	"mailsrv/server/policy"
	"mailsrv/server/queue"
	"mailsrv/server/quota"
	"mailsrv/server/smtp"
	"mailsrv/server/store"
)

// backend joins the SMTP engine to policy and store.
type backend struct {
	policy *policy.Policy
	store  store.Store
	queue  *queue.Queue
	meter  *quota.Meter // nil: mailboxes have no limit
	warn   func(a account.Account, used, limit int64)
	log    *slog.Logger

	// required makes a role address, postmaster or abuse, that leads nowhere.
	required func(role, domain string) (ok bool, err error)
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
	from    smtp.Sender
	boxes   []store.Box       // local recipients
	out     []queue.Recipient // the others, and local ones whose delivery is to be confirmed
	sentOn  []forward         // of local recipients
	owners  []account.Account // of boxes

	accepted []address.Address
	found    []policy.Trace // what rules found and let pass
	marks    []policy.Trace
	spared   bool // the rules for headers
}

func (t *transaction) Mail(from smtp.Sender) (address.Address, smtp.Reply) {
	t.from = from
	t.request.Sender, t.request.Size = from.Address, from.Size
	d := t.policy.Sender(t.request)
	if d.Verdict != policy.Accept {
		smtp.Refusals.Add(1, t.request.Listener, d.Rule)
		t.log.Warn("sender refused", "from", from.Address.String(), "rule", d.Rule, "reply", d.Reply())
	}
	t.request.Sender = d.Sender
	return d.Sender, reply(d)
}

func (t *transaction) Rcpt(to smtp.Recipient) (address.Address, smtp.Reply) {
	t.request.Recipient = to.Address
	d := t.policy.Recipient(t.request)
	if d.Unknown && t.role(d.Recipient) {
		d = t.policy.Recipient(t.request)
	}
	if d.Verdict != policy.Accept {
		smtp.Refusals.Add(1, t.request.Listener, d.Rule)
		t.log.Warn("recipient refused", "from", t.request.Sender.String(), "to", to.Address.String(), "rule", d.Rule, "why", d.Why(), "reply", d.Reply())
	}
	t.noted(d)
	if d.Verdict == policy.Accept {
		t.accepted = append(t.accepted, d.Recipient)
	}
	for _, a := range d.Boxes {
		// Two addresses of one person are one copy.
		if box := boxOf(a); !slices.Contains(t.boxes, box) {
			t.boxes, t.owners = append(t.boxes, box), append(t.owners, a)
		}
	}
	for _, r := range d.Forwards {
		t.forward(r, to)
	}
	if d.Out {
		t.enqueue(d.Recipient, to, queue.Waiting)
	}
	if len(d.Boxes) > 0 && strings.Contains(to.Notify, "SUCCESS") && !t.request.Sender.IsNull() {
		t.enqueue(d.Recipient, to, queue.Delivered)
	}
	return d.Recipient, reply(d)
}

// role tells whether an unknown address was one that every domain must have,
// and is known now: mail for postmaster is taken wherever mail is (RFC 5321
// 4.5.1), and that for abuse (RFC 2142).
func (t *transaction) role(a address.Address) bool {
	role := strings.ToLower(a.Local)
	domain, err := config.ParseDomain(a.Domain)
	if role != "postmaster" && role != "abuse" || err != nil {
		return false
	}
	ok, err := t.required(role, domain)
	if err != nil {
		t.log.Error("required address cannot be made", "address", a.String(), "error", err)
	}
	return ok
}

// enqueue has the queue deliver to a recipient, or, when that is done here, tell
// the sender that it was.
func (t *transaction) enqueue(a address.Address, to smtp.Recipient, state queue.State) {
	r := queue.Recipient{Address: a.String(), Notify: to.Notify, ORCPT: to.ORCPT, State: state}
	if !slices.ContainsFunc(t.out, func(o queue.Recipient) bool { return o.Address == r.Address }) {
		t.out = append(t.out, r)
	}
}

// goesOut tells whether anybody elsewhere gets the message.
func (t *transaction) goesOut() bool {
	return slices.ContainsFunc(t.out, func(r queue.Recipient) bool { return r.State == queue.Waiting })
}

func boxOf(a account.Account) store.Box { return store.Box{Name: a.Name, Domain: a.Domain} }

func reply(d policy.Decision) smtp.Reply {
	return smtp.Reply{Code: d.Code, Enhanced: d.Enhanced, Text: d.Text}
}

// Data implements smtp.Transaction. One message goes to the store for those who
// are here, and to the queue for the others.
func (t *transaction) Data() (smtp.Message, smtp.Reply) {
	msg := &message{t: t}
	var err error
	if len(t.out) > 0 {
		msg.queued, err = t.queue.Begin(queue.Envelope{ID: t.id, Sender: t.request.Sender.String(), User: t.request.User,
			UTF8: t.from.UTF8, Ret: t.from.Ret, EnvID: t.from.EnvID, Recipients: t.out})
	}
	if err == nil && len(t.boxes) > 0 {
		msg.stored, err = t.store.Begin(t.id, t.boxes)
	}
	if err == nil {
		msg.copies, err = t.beginForwards()
	}
	if err != nil {
		msg.Abort()
		return nil, t.diskFailed(err)
	}
	if msg.stored != nil {
		// Final delivery records the sender (RFC 5321 4.4). A failed write
		// shows again in Commit.
		_, _ = io.WriteString(msg.stored, "Return-Path: <"+t.request.Sender.String()+">\r\n")
	}
	return msg, smtp.Reply{}
}

func (t *transaction) diskFailed(err error) smtp.Reply {
	t.log.Error("message cannot be stored", "error", err)
	smtp.Refusals.Add(1, t.request.Listener, "storage")
	if err = store.DiskError(err); errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrReadOnly) {
		return smtp.Reply{Code: 452, Enhanced: "4.3.1", Text: "Insufficient system storage; try again later"}
	}
	return smtp.Reply{Code: 451, Enhanced: "4.3.0", Text: "Message cannot be stored at present; try again later"}
}

// message is a message that is being taken in, in one place or both.
type message struct {
	t      *transaction
	stored store.Incoming  // nil without local recipients
	queued *queue.Incoming // nil without others
	copies []*queue.Incoming
	header header

	size    int64
	refused *smtp.Reply // by its header
}

// Write implements smtp.Message. The header is held back until it is complete. A
// failed write shows again in Commit.
func (m *message) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	switch {
	case m.refused != nil:
		return len(p), nil
	case m.header.done:
		return m.pass(p)
	case m.header.add(p):
		return len(p), m.judge()
	}
	return len(p), nil
}

// pass writes to wherever the message goes.
func (m *message) pass(p []byte) (int, error) {
	if m.stored != nil {
		if n, err := m.stored.Write(p); err != nil {
			return n, err
		}
	}
	for _, c := range m.copies {
		if n, err := c.Write(p); err != nil {
			return n, err
		}
	}
	if m.queued != nil {
		return m.queued.Write(p)
	}
	return len(p), nil
}

// Commit implements smtp.Message: to both places, or to neither. What can fail
// for want of room has been done before the first of them shows the message.
func (m *message) Commit() smtp.Reply {
	var err error
	if !m.header.done { // a message without a body
		m.header.done = true
		err = m.judge()
	}
	if m.refused == nil {
		if m.refused = m.noRoom(); m.refused != nil {
			smtp.Refusals.Add(1, m.t.request.Listener, "mailbox.full")
		}
	}
	if m.refused != nil {
		return *m.refused
	}
	out := m.copies
	if m.queued != nil {
		out = append([]*queue.Incoming{m.queued}, m.copies...)
	}
	if m.stored != nil || len(out) > 1 {
		for _, c := range out {
			if err == nil {
				err = c.Prepare()
			}
		}
	}
	if err == nil && m.stored != nil {
		err = m.stored.Commit()
	}
	for _, c := range out {
		if err == nil {
			err = c.Commit()
		}
	}
	if err != nil {
		return m.t.diskFailed(err)
	}
	if m.stored != nil {
		m.counted()
		names := make([]string, len(m.t.boxes))
		for i, b := range m.t.boxes {
			names[i] = b.String()
		}
		m.t.log.Info("message delivered", "mailboxes", strings.Join(names, " "))
	}
	return smtp.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok"}
}

// Abort implements smtp.Message; after Commit it does nothing.
func (m *message) Abort() {
	for _, c := range m.copies {
		c.Abort()
	}
	if m.queued != nil {
		m.queued.Abort()
	}
	if m.stored != nil {
		m.stored.Abort()
	}
}
