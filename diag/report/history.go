package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/fatih/color"

	"mailsrv/diag/mailbox"
	"mailsrv/server/store"
)

const minute = "2006-01-02 15:04"

// History shows what was deleted in a mailbox and brought back, by whom and
// from where.
func (p *Printer) History(h *mailbox.History, keep string) {
	pick := p.Lang.Pick
	if len(h.Events) == 0 {
		fmt.Fprintln(p.W, pick("Nothing has been deleted by POP3 or by a command.", "POP3 やコマンドで削除されたメールはありません。"))
	}
	for _, e := range h.Events {
		what := p.paint(pick("deleted", "削除"), color.FgRed)
		if e.What == store.Restored {
			what = p.paint(pick("restored", "復元"), color.FgGreen)
		}
		p.Line(2, fmt.Sprintf("%s  %s  %s", e.Time.Local().Format(minute), what, p.by(e.By)))
		p.fields(e)
		switch {
		case e.What == store.Restored:
		case e.Number > 0:
			p.indented(p.Faint(fmt.Sprintf(pick("can be brought back until %s: number %d", "%s まで復元できます: %d 番"), e.Until.Local().Format(minute), e.Number)))
		case e.State == mailbox.Gone:
			p.indented(p.Faint(pick("removed for good", "完全に消去されました")))
		case e.State == mailbox.InMailbox:
			p.indented(p.Faint(pick("is in the mailbox now", "現在はメールボックスにあります")))
		}
	}
	if h.Damaged > 0 {
		p.Line(0, fmt.Sprintf(pick("%d lines of the history are damaged and left out.", "履歴のうち %d 行は壊れているため表示していません。"), h.Damaged))
	}
	p.kept(h, keep)
}

// Kept lists what can be brought back.
func (p *Printer) Kept(h *mailbox.History, keep string) {
	width := len(strconv.Itoa(len(h.Kept)))
	for _, e := range h.Kept {
		p.Line(2, fmt.Sprintf("%*d  %s  %s", width, e.Number, e.Time.Local().Format(minute), p.by(e.By)))
		p.fields(e)
	}
	p.kept(h, keep)
}

func (p *Printer) kept(h *mailbox.History, keep string) {
	pick := p.Lang.Pick
	if len(h.Kept) == 0 {
		p.Line(0, p.Faint(pick("No deleted message can be brought back", "復元できる削除済みメールはありません")+fmt.Sprintf(pick(" (keep_deleted = %q).", " (keep_deleted = %q)。"), keep)))
		return
	}
	p.Line(0, p.Faint(fmt.Sprintf(pick("%s kept, %s on disk, each for %s.", "保存中の削除済みメール %s、%s、保存期間 %s。"), p.Count(len(h.Kept)), octetText(h.Octets), keep)))
}

// fields shows what a message was.
func (p *Printer) fields(e mailbox.Event) {
	subject := e.Subject
	if subject == "" {
		subject = p.Lang.Pick("(no subject)", "(件名なし)")
	}
	line := octetText(e.Size) + "  " + subject
	if e.From != "" {
		line = octetText(e.Size) + "  " + ansi.Truncate(e.From, 40, "…") + "  " + subject
	}
	p.indented(line)
	if !p.Verbose {
		return
	}
	for _, row := range [][2]string{{"uid", e.UID}, {"to", e.To}, {"date", e.Date}, {"message-id", e.MessageID}, {"session", e.By.Session}} {
		if row[1] != "" {
			p.indented(p.Faint(row[0] + " " + row[1]))
		}
	}
}

func (p *Printer) indented(s string) {
	if p.Width > 0 {
		s = ansi.Truncate(s, max(20, p.Width-2), "…")
	}
	fmt.Fprintln(p.W, "  "+strings.TrimRight(s, " "))
}

// by says who it was.
func (p *Printer) by(by store.By) string {
	switch {
	case by.Client == "":
		return p.Lang.Pick("not in the history", "履歴に記録なし")
	case by.Protocol == "":
		return by.Client
	}
	return fmt.Sprintf(p.Lang.Pick("%s from %s", "%s、接続元 %s"), by.Protocol, by.Client)
}

// Restored says what was brought back.
func (p *Printer) Restored(events []mailbox.Event) {
	for _, e := range events {
		what := strings.TrimSpace(e.From + "  " + e.Subject)
		if what == "" {
			what = e.UID
		}
		p.Line(2, fmt.Sprintf(p.Lang.Pick("Brought back: %s (%s, deleted %s)", "復元しました: %s (%s、削除日時 %s)"), what, octetText(e.Size), e.Time.Local().Format(minute)))
	}
}
