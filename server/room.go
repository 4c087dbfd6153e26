package server

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strings"
	"time"

	"mailsrv/codes"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/conn"
	"mailsrv/server/smtp"
	"mailsrv/server/store"
)

// noRoom refuses a message that fits into none of its mailboxes, now that its
// size is known. Where it goes elsewhere too, or fits into one of them, it is
// taken: it could not be refused for some of its recipients only.
func (m *message) noRoom() *smtp.Reply {
	if m.t.meter == nil || m.stored == nil || m.t.goesOut() || len(m.copies) > 0 {
		return nil
	}
	never := true
	for _, a := range m.t.owners {
		if fits, err := m.t.meter.Fits(a, m.size); fits || err != nil {
			return nil
		}
		never = never && m.size > m.t.meter.Limit(a)
	}
	if never {
		return &smtp.Reply{Code: 552, Enhanced: "5.2.2", Text: "Message is larger than the mailbox may become"}
	}
	return &smtp.Reply{Code: 452, Enhanced: "4.2.2", Text: "Mailbox is full; try again later"}
}

// counted adds a delivered message to its mailboxes, and tells the owners of
// those that it has made nine tenths full.
func (m *message) counted() {
	if m.t.meter == nil {
		return
	}
	for _, a := range m.t.owners {
		if warn, used, limit := m.t.meter.Added(a, m.size); warn {
			m.t.log.Warn("mailbox is nearly full", "user", a.Address(), "octets", used, "quota", limit)
			m.t.warn(a, used, limit)
		}
	}
}

// warnFull puts a message into a mailbox that says how full it is.
func (s *Server) warnFull(a account.Account, used, limit int64) {
	id := conn.NewID()
	m, err := s.store.Begin(id, []store.Box{boxOf(a)})
	if err == nil {
		defer m.Abort()
		if _, err = m.Write([]byte(fullMessage(s.langOf(a.Address()), s.cfg().Hostname, id, a, used, limit, time.Now()))); err == nil {
			err = m.Commit()
		}
	}
	if err != nil {
		s.log.Error("owner of a full mailbox cannot be told", "user", a.Address(), "error", err)
	}
}

// fullMessage is the warning for the owner of a mailbox.
func fullMessage(lang codes.Lang, hostname, id string, a account.Account, used, limit int64, now time.Time) string {
	percent := used * 100 / limit
	subject := lang.Pick("Your mailbox is nearly full", "メールボックスがもうすぐ一杯です")
	text := fmt.Sprintf(lang.Pick(`The mailbox %s is %d %% full: %s of %s.

When it is full, new mail for you is put off, and after some days goes back to
its senders. To make room, delete mail that you no longer need from the server;
a mail program that leaves copies on the server can be told to remove them
after some days. Or ask whoever runs the server for more room.
`, `メールボックス %s は %d %% まで使われています（%s / %s）。

一杯になると新しいメールは保留され、数日後に差出人へ戻されます。
いらないメールをサーバーから削除してください。メールソフトが「サーバーに
メッセージのコピーを置く」設定なら、数日後に削除するように変えられます。
容量を増やしたいときは、サーバーの管理者に相談してください。
`), a.Address(), percent, amount(used), amount(limit))
	var b strings.Builder
	field := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	field("Return-Path", "<>")
	field("From", mime.BEncoding.Encode("utf-8", lang.Pick("Mail Delivery System", "メール配信システム"))+" <postmaster@"+hostname+">")
	field("To", "<"+a.Address()+">")
	field("Subject", mime.BEncoding.Encode("utf-8", subject))
	field("Date", now.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	field("Message-ID", "<"+id+"@"+hostname+">")
	field("Auto-Submitted", "auto-generated")
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "base64")
	b.WriteString("\r\n")
	encoded := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	for len(encoded) > 76 {
		b.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	b.WriteString(encoded + "\r\n")
	return b.String()
}

// amount rounds a size for people.
func amount(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 10_000:
		return fmt.Sprintf("%d KB", n/1000)
	}
	return config.FormatSize(n)
}
