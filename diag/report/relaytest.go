package report

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/charmbracelet/x/ansi"
	"github.com/fatih/color"

	"mailsrv/diag/relaytest"
)

// RelayTest shows what a server answered to each try, and what that means.
func (p *Printer) RelayTest(r *relaytest.Report) {
	pick := p.Lang.Pick
	head := net.JoinHostPort(r.Target.Host, strconv.Itoa(r.Target.Port))
	if r.Target.Address != "" && r.Target.Address != r.Target.Host {
		head += " (" + r.Target.Address + ")"
	}
	guess := ""
	if r.Target.Guessed && r.Target.Greeting != "" {
		guess = pick(" (a guess; --domain says it)", "（推測。--domain で指定できます）")
	}
	p.Line(0, p.Bold(head)+"  "+p.Faint(pick("its domain: ", "サーバーのドメイン: ")+r.Target.Domain+guess))
	asked := slices.ContainsFunc(r.Tests, func(t relaytest.Test) bool { return t.Reply != "" })
	for _, t := range r.Tests {
		if !asked && !p.Verbose {
			break
		}
		mark, word := p.Faint("-"), pick("not asked", "未実施")
		switch {
		case t.Result == relaytest.Refused:
			mark, word = p.paint("✓", color.FgGreen), pick("refused", "拒否")
		case t.Result == relaytest.Accepted && t.Sent:
			mark, word = p.paint("✗", color.FgRed), pick("SENT", "送信された")
		case t.Result == relaytest.Accepted:
			mark, word = p.paint("✗", color.FgRed), pick("ACCEPTED", "受付")
		case t.Result == relaytest.Unclear:
			mark, word = p.paint("?", color.FgMagenta), pick("unclear", "不明")
		case t.Reply != "":
			word = pick("not judged", "判定外")
		}
		reply := t.Reply
		if !p.Verbose && t.Result == relaytest.Refused {
			reply = ansi.Truncate(reply, max(20, p.width()-replyAt), "…")
		}
		p.Labelled(2, mark+" "+pad(t.Name, 23)+pad(word, 11), replyAt, reply)
		if t.Result == relaytest.Accepted || p.Verbose {
			p.Labelled(4, "", 4, p.Faint(fmt.Sprintf("MAIL FROM:<%s> RCPT TO:<%s>", t.From, t.To)))
		}
	}
	p.Blank()
	for _, f := range r.Findings {
		p.finding(f)
	}
	p.Blank()
	p.VerdictLine(r.Summary)
}

// replyAt is the cell at which replies begin.
const replyAt = 38
