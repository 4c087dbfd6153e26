package report

import (
	"slices"
	"strings"

	"github.com/fatih/color"

	"mailsrv/diag"
	"mailsrv/diag/doctor/talk"
	"mailsrv/diag/explain"
)

// Contacts says what a live check is about to contact.
func (p *Printer) Contacts(cs []explain.Contact) {
	p.Line(0, p.Bold(p.Lang.Pick("Checking now. This contacts:", "これから確認します。接続先:")))
	for _, c := range cs {
		p.Labelled(2, "·", 4, p.contact(c))
	}
}

func (p *Printer) contact(c explain.Contact) string {
	pick := p.Lang.Pick
	switch c.How {
	case "sockets":
		return pick("this machine's list of listening ports", "このマシンの待ち受けポート一覧 (参照のみ)")
	case "dns":
		where := c.Where
		if where == "" {
			where = pick("the system's resolver", "システムのリゾルバー")
		}
		return "DNS " + where + ": " + c.What
	}
	text := c.How + " " + c.Where
	if strings.HasPrefix(c.Where, "MX of ") {
		domain := strings.TrimPrefix(c.Where, "MX of ")
		text = c.How + " " + pick("the mail host of "+domain+", port 25", domain+" のメールホスト、25 番ポート")
	} else {
		text += " (" + p.tlsMode(c.What) + ")"
	}
	if c.RCPT != "" {
		text += pick(", up to RCPT TO:<"+c.RCPT+">, no message", "、RCPT TO:<"+c.RCPT+"> まで (メールは送りません)")
	}
	if len(c.Then) > 0 {
		var then []string
		for _, t := range c.Then {
			port, mode, _ := strings.Cut(t, " ")
			then = append(then, port+" "+p.tlsMode(mode))
		}
		text += pick("; if it fails: ", "。失敗したら: ") + strings.Join(then, ", ")
	}
	return text
}

// tlsMode names a TLS mode for people.
func (p *Printer) tlsMode(mode string) string {
	switch mode {
	case talk.None:
		return p.Lang.Pick("plain", "平文")
	case talk.Implicit:
		return "TLS"
	case talk.StartTLS:
		return "STARTTLS"
	}
	return p.Lang.Pick("STARTTLS where offered", "STARTTLS (対応していれば)")
}

// verdict says what a live check made of a cause.
func (p *Printer) verdict(d explain.Diagnosis) string {
	switch d.Verdict {
	case explain.Confirmed:
		return "  " + p.paint(p.Lang.Pick("CONFIRMED", "該当"), color.FgRed, color.Bold)
	case explain.Rejected:
		return "  " + p.paint(p.Lang.Pick("rejected", "該当せず"), color.FgGreen)
	case explain.Undetermined:
		return "  " + p.paint(p.Lang.Pick("undetermined", "確認できず"), color.FgYellow)
	}
	return ""
}

// allRejected is the answer where none of the likely causes holds any more.
func (p *Printer) allRejected(r *explain.Result) {
	p.Line(0, p.Bold(p.Lang.Pick("None of the likely causes holds now:", "考えられる原因は、いずれも今は当てはまりません:")))
	p.verdicts(r.Diagnosis)
	p.Line(0, p.Lang.Pick("If the message comes up again, paste it anew: the fault comes and goes, or the mail program is set differently.",
		"もう一度表示されたら、そのメッセージを貼り付けてください。一時的な不具合か、メールソフトの設定の違いが考えられます。"))
}

// verdicts lists the causes with what became of each.
func (p *Printer) verdicts(ds []explain.Diagnosis) {
	for _, d := range ds {
		p.Labelled(2, "·", 4, d.Title+"  "+p.Faint(sureness(d))+p.verdict(d))
	}
}

// titles are those of the findings that a verdict rests on.
func titles(fs []diag.Finding, ids []string) string {
	var out []string
	for _, f := range fs {
		if slices.Contains(ids, f.ID) && len(out) < 3 {
			out = append(out, f.Title)
		}
	}
	return strings.Join(out, " · ")
}
