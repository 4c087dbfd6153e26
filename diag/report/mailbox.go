package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/fatih/color"

	"mailsrv/diag/mailbox"
	"mailsrv/probes/dial"
)

// Mailbox lists messages, one on a line, cut at the width.
func (p *Printer) Mailbox(ms []mailbox.Message, headers bool) {
	pick := p.Lang.Pick
	if len(ms) == 0 {
		fmt.Fprintln(p.W, pick("The mailbox is empty.", "メールボックスは空です。"))
		return
	}
	var octets int64
	number, size := 0, 0
	for _, m := range ms {
		octets += m.Size
		number = max(number, len(strconv.Itoa(m.Number)))
		size = max(size, len(octetText(m.Size)))
	}
	for _, m := range ms {
		line := fmt.Sprintf("%*d  %*s  ", number, m.Number, size, octetText(m.Size))
		switch {
		case m.Error != "":
			line += p.paint("✗ ", color.FgRed) + p.stuck(m)
		case headers:
			when := strings.Repeat(" ", len("2006-01-02 15:04"))
			if t, err := time.Parse(time.RFC3339, m.Date); err == nil {
				when = t.Local().Format("2006-01-02 15:04")
			}
			from := ansi.Truncate(m.From, 28, "…")
			line += when + "  " + from + strings.Repeat(" ", 28-lipgloss.Width(from)) + "  " + m.Subject
		default:
			line += mailbox.Clean(m.UID)
		}
		if p.Width > 0 {
			line = ansi.Truncate(line, p.Width, "…")
		}
		fmt.Fprintln(p.W, strings.TrimRight(line, " "))
		if p.Verbose && headers && m.UID != "" {
			fmt.Fprintln(p.W, strings.Repeat(" ", number+2)+p.Faint(mailbox.Clean(m.UID)))
		}
	}
	fmt.Fprintln(p.W, p.Faint(fmt.Sprintf(pick("%s, %s", "メール %s、%s"), p.Count(len(ms)), octetText(octets))))
}

// stuck says why a header could not be read.
func (p *Printer) stuck(m mailbox.Message) string {
	switch m.Outcome {
	case dial.Silent, dial.Drip, dial.Timeout:
		return p.Lang.Pick("the server does not answer for this message", "このメールについてサーバーが応答しません")
	case dial.Reset, dial.Closed:
		return p.Lang.Pick("the server breaks the connection at this message", "このメールでサーバーが接続を切ります")
	}
	return m.Error
}

// octetText is a size as people read it.
func octetText(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", n/1000)
	}
	return fmt.Sprintf("%d MB", n/1_000_000)
}

// Message shows a header, and what there is of the body.
func (p *Printer) Message(m mailbox.Message, header, body string) {
	line := fmt.Sprintf(p.Lang.Pick("message %d, %d octets", "メール %d 番、%d バイト"), m.Number, m.Size)
	if m.UID != "" {
		line += "  " + mailbox.Clean(m.UID)
	}
	fmt.Fprintln(p.W, p.Faint(line))
	for _, text := range []string{header, body} {
		if text == "" {
			continue
		}
		p.Blank()
		for l := range strings.Lines(text) {
			fmt.Fprintln(p.W, mailbox.Clean(strings.TrimSuffix(l, "\n")))
		}
	}
}
