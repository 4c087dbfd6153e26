package report

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/explain"
)

// screen is how many lines an answer keeps to, so that its first line is not
// scrolled away: those of the terminal less the prompt. Where nothing scrolls,
// and with --verbose, everything is shown.
func (p *Printer) screen() int {
	if p.Height <= 0 {
		return math.MaxInt32
	}
	return max(minScreen, p.Height-1)
}

// minScreen is the least that holds an answer with one cause and one step.
const minScreen = 12

// Explain writes what an input means: the answer first, then the steps, and last
// what a live check found.
func (p *Printer) Explain(r *explain.Result) {
	if r.Summary == nil {
		p.explain(r)
		return
	}
	found := p.lines(func(p *Printer) {
		p.Blank()
		if r.Input.Kind == explain.KindCode && len(r.Diagnosis) > 0 { // whose answer is about the code
			p.verdicts(r.Diagnosis)
		}
		p.heading(p.Lang.Pick("What the check found", "確認した結果"), 0)
		p.Findings(r.Findings)
	})
	body := *p
	if p.Height > 0 {
		body.Height = max(minScreen, p.Height-len(found)-len(r.Contacts)-2)
	}
	body.explain(r)
	p.write(found)
}

func (p *Printer) explain(r *explain.Result) {
	if r.Input.Error != "" {
		p.Line(0, r.Input.Error)
	}
	switch {
	case r.Input.Kind == explain.KindEmpty:
		p.Line(0, p.Lang.Pick("There is nothing to explain: the input is empty.", "入力が空なので、説明するものがありません。"))
	case r.Input.Kind == explain.KindBinary:
		p.Line(0, p.Lang.Pick("This is binary data, no text: give the message as text or as an .eml file.", "テキストではないデータです。メッセージをテキストか .eml ファイルで渡してください。"))
	case r.Extracted != nil:
		p.extracted(r)
	case r.Input.Kind == explain.KindCode && len(r.Matches) > 0 && r.Matches[0].Title != "":
		p.code(r)
	case r.Input.Kind == explain.KindCode:
		p.unknownCode(r)
	case r.Log != nil && len(r.Diagnosis) > 0:
		p.log(r)
	case len(r.Diagnosis) > 0 && r.Diagnosis[0].Verdict == explain.Rejected:
		p.allRejected(r)
	case len(r.Diagnosis) > 0 && r.Diagnosis[0].Cause != "none":
		p.diagnosis(r)
	default:
		p.noError(r)
	}
}

// code shows a single code: what it means, why, what to do.
func (p *Printer) code(r *explain.Result) {
	m := r.Matches[0]
	head := p.lines(func(p *Printer) {
		code := m.Code
		if len(r.Matches) > 1 && r.Matches[1].DerivedFrom == m.Code {
			code += " = " + r.Matches[1].Code
		}
		p.Line(2, p.Bold(code+"  "+m.Title))
		names := slices.CompactFunc([]string{m.Raw, m.Symbol}, strings.EqualFold)
		if names = slices.DeleteFunc(names, func(s string) bool { return s == "" || strings.EqualFold(s, m.Code) }); len(names) > 0 {
			p.Line(2, p.Faint(strings.Join(names, "  ")))
		}
		p.Line(0, m.Meaning)
	})
	// The name of a thing is asked about to learn of it: nothing has happened
	// that has causes, or that somebody must mend.
	why, thing := p.Lang.Pick("Likely causes", "考えられる原因"), m.Family == "topic" || m.Family == "setting"
	if thing {
		why = p.Lang.Pick("Good to know", "知っておくこと")
	}
	foot := p.lines(func(p *Printer) {
		if !thing {
			p.acts(m.Who, m.Temporary)
		}
		for _, other := range r.Matches[1:] {
			if other.Title != "" && other.DerivedFrom == "" {
				p.Labelled(0, other.Code, len(other.Code)+2, p.cut(other.Title, len(other.Code)+2))
			}
		}
		see := slices.DeleteFunc(slices.Concat(m.Related, m.References), func(s string) bool { return s == m.Code })
		if len(see) > 0 {
			p.Line(0, p.Faint(p.cut(p.Lang.Pick("See also: ", "参照: ")+strings.Join(see, ", "), 0)))
		}
	})
	causes := p.items(m.Causes, "-")
	steps := p.items(m.Fixes, "")
	if len(causes) == 0 || len(steps) == 0 {
		p.write(slices.Concat(head, foot))
		return
	}
	const headings = 2
	room := p.screen() - len(head) - len(foot) - headings
	steps, moreSteps := p.fit(steps, room-len(causes[0]))
	room -= count(steps)
	causes, moreCauses := p.fit(causes, room)
	blank := func(left int) {
		if room-count(causes) >= left || p.Verbose {
			p.Blank()
		}
	}
	p.write(head)
	blank(2)
	p.heading(why, moreCauses)
	p.write(slices.Concat(causes...))
	blank(3)
	p.heading(p.Lang.Pick("What to do", "対処"), moreSteps)
	p.write(slices.Concat(steps...))
	blank(1)
	p.write(foot)
}

// items renders list items, each with its mark, or numbered.
func (p *Printer) items(texts []string, mark string) [][]string {
	var out [][]string
	for i, t := range texts {
		label := mark
		if label == "" {
			label = fmt.Sprintf("%d.", i+1)
		}
		out = append(out, p.lines(func(p *Printer) { p.Labelled(1, label, len(label)+2, t) }))
	}
	return out
}

// fit drops the last items until the rest has room, but never the first.
func (p *Printer) fit(items [][]string, room int) (kept [][]string, dropped int) {
	kept = items
	for !p.Verbose && len(kept) > 1 && count(kept) > room {
		kept = kept[:len(kept)-1]
	}
	return kept, len(items) - len(kept)
}

func count(items [][]string) int {
	n := 0
	for _, x := range items {
		n += len(x)
	}
	return n
}

// cut shortens s to the rest of one line that already holds some cells, where
// lines are few.
func (p *Printer) cut(s string, used int) string {
	if p.Height <= 0 || p.Verbose {
		return s
	}
	return ansi.Truncate(s, p.width()-used, "…")
}

// diagnosis shows what a dialog, a reply or a log comes down to.
func (p *Printer) diagnosis(r *explain.Result) {
	d := r.Diagnosis[0]
	head := p.lines(func(p *Printer) {
		verdict := strings.TrimSpace(p.verdict(d))
		if verdict != "" {
			verdict += "  "
		}
		p.Line(2, verdict+p.Bold(d.Title)+"  "+p.Faint(sureness(d)))
		if d.Why != "" {
			p.Line(0, d.Why)
		}
		if to := recipients(r); to != "" {
			p.Labelled(0, p.Lang.Pick("Mail to:", "宛先:"), 9, p.cut(to, 9))
		}
		if len(d.Evidence) > 0 {
			p.Labelled(0, p.Lang.Pick("Because:", "根拠:"), 9, strings.Join(d.Evidence, " · "))
		}
		if found := titles(r.Findings, d.Checked); found != "" {
			p.Labelled(0, p.Lang.Pick("Found:", "結果:"), 9, found)
		}
	})
	foot := p.lines(func(p *Printer) {
		p.acts(d.Who, d.Temporary)
		if d.Verify != nil {
			p.Labelled(0, p.Lang.Pick("Check it:", "確認:"), 10, p.Command(d.Verify.Command+" "+strings.Join(d.Verify.Args, " ")))
		}
		for i, o := range r.Diagnosis[1:] {
			indent, label := 0, p.Lang.Pick("Or:", "または:")
			if i > 0 {
				indent, label = 9, ""
			}
			end := "  " + p.Faint(sureness(o)) + p.verdict(o)
			p.Labelled(indent, label, 9, p.cut(o.Title, 9+ansi.StringWidth(end))+end)
		}
	})
	var fixes [][]string
	for i := range d.Fixes {
		fixes = append(fixes, p.lines(func(p *Printer) { p.fix(i, d.Fixes[i]) }))
	}
	room := p.screen() - len(head) - len(foot) - 2 // the list of codes: a blank line and one more
	fixes, more := p.fit(fixes, room)
	if more > 0 { // saying so takes a line
		room--
		fixes, _ = p.fit(fixes, room)
		more = len(d.Fixes) - len(fixes)
	}
	room -= count(fixes)
	blank := func() {
		if room > 0 || p.Verbose {
			room--
			p.Blank()
		}
	}
	p.write(head)
	blank()
	p.write(slices.Concat(fixes...))
	if more > 0 {
		p.Line(0, p.Faint(p.more(more)))
	}
	blank()
	p.write(foot)
	p.codes(r, room+1)
}

// recipients lists whose mail a bounce or log is about.
func recipients(r *explain.Result) string {
	var to []string
	for _, b := range r.Bounces {
		if b.Recipient != "" && !slices.Contains(to, b.Recipient) {
			to = append(to, b.Recipient)
		}
	}
	return strings.Join(to, ", ")
}

func sureness(d explain.Diagnosis) string {
	return fmt.Sprintf("[%s %d%%]", d.Cause, int(d.Confidence*100+0.5))
}

func (p *Printer) more(n int) string {
	return fmt.Sprintf(p.Lang.Pick("(%d more with -v)", "(ほか %d 件は -v で表示)"), n)
}

func (p *Printer) fix(i int, f diag.Fix) {
	label := fmt.Sprintf("%d.", i+1)
	p.Labelled(1, label, len(label)+2, f.Text)
	if f.Command != "" {
		p.verbatim(len(label)+2, "$ "+p.Command(f.Command))
	}
	if f.Record != "" {
		p.verbatim(len(label)+2, f.Record)
	}
}

// codes lists what stands in the text, one line each; without room for that,
// all on one.
func (p *Printer) codes(r *explain.Result, room int) {
	var found []explain.Match
	width := 0
	for _, m := range r.Matches {
		if !strings.Contains(m.Code, "/") { // the words of the text: the diagnosis quotes them
			found = append(found, m)
			width = max(width, len(m.Code))
		}
	}
	if len(found) == 0 {
		return
	}
	p.Blank()
	if len(found) > max(room, 1) && !p.Verbose {
		var names []string
		for _, m := range found {
			names = append(names, m.Code)
		}
		p.Line(2, p.Faint(p.Lang.Pick("Codes in it: ", "含まれるコード: ")+strings.Join(names, ", ")))
		return
	}
	for _, m := range found {
		title := m.Title
		if title == "" {
			title = p.Lang.Pick("not in the catalogue", "カタログにありません")
		}
		p.Labelled(0, m.Code, width+2, p.Faint(p.cut(title, width+2)))
	}
}

// noErrorKinds says of mail that is no error what it is instead.
var noErrorKinds = map[explain.Kind][2]string{
	explain.KindBounce:    {"This is a delivery report, and it reports no failure.", "配信の報告で、失敗は報告されていません。"},
	explain.KindARF:       {"This is an abuse report: somebody marked a mail as spam.", "迷惑メールの申告 (ARF) です。受信者がメールを迷惑メールとして報告しました。"},
	explain.KindMDN:       {"This is a read receipt, no error.", "開封確認の通知です。エラーではありません。"},
	explain.KindAutoReply: {"This is an automatic reply, no error.", "自動応答のメールです。エラーではありません。"},
	explain.KindMail:      {"This is an ordinary mail, no bounce.", "通常のメールです。エラーメールではありません。"},
}

func (p *Printer) noError(r *explain.Result) {
	if s, ok := noErrorKinds[r.Input.Kind]; ok {
		p.Line(0, p.Bold(p.Lang.Pick(s[0], s[1])))
		if to := recipients(r); to != "" {
			p.Labelled(0, p.Lang.Pick("Mail to:", "宛先:"), 9, p.cut(to, 9))
		}
		return
	}
	d := diagOf(r)
	p.Line(0, p.Bold(d.Title))
	if d.Why != "" {
		p.Line(0, d.Why)
	}
}

func diagOf(r *explain.Result) explain.Diagnosis {
	if len(r.Diagnosis) > 0 {
		return r.Diagnosis[0]
	}
	return explain.Diagnosis{}
}

func (p *Printer) unknownCode(r *explain.Result) {
	what := r.Asked
	if len(r.Matches) > 0 {
		what = r.Matches[0].Code
	}
	p.Line(0, p.Bold(fmt.Sprintf(p.Lang.Pick("%s is not in the catalogue.", "%s はカタログにありません。"), what)))
	if len(r.DidYou) > 0 {
		p.Line(0, p.Lang.Pick("Did you mean ", "もしかして: ")+strings.Join(r.DidYou, p.Lang.Pick(", ", "、"))+p.Lang.Pick("?", ""))
	}
	p.Line(0, p.Lang.Pick("Paste the whole message: its words often say more than the code.", "メッセージ全体を貼り付けてください。コードより本文の方が手がかりになることがよくあります。"))
}

// toolRows are the names of what is read from pasted tool output, in the order
// to show them.
var toolRows = []struct{ key, en, ja string }{
	{"host", "Host name", "ホスト名"}, {"addresses", "Own addresses", "自分のアドレス"}, {"gateway", "Gateway", "ゲートウェイ"},
	{"dns", "DNS servers", "DNS サーバー"}, {"dhcp", "DHCP server", "DHCP サーバー"},
	{"listening", "Listening on mail ports", "メール用ポートの待ち受け"}, {"time_wait", "Closed and waiting (TIME_WAIT)", "終了待ち (TIME_WAIT)"},
	{"syn_sent", "Attempts without an answer (SYN_SENT)", "応答のない接続 (SYN_SENT)"}, {"connections", "Connections", "接続数"},
}

func (p *Printer) extracted(r *explain.Result) {
	for _, row := range toolRows {
		if values := r.Extracted[row.key]; len(values) > 0 {
			p.Labelled(0, p.Lang.Pick(row.en, row.ja)+": ", 0, strings.Join(values, ", "))
		}
	}
	if len(r.Diagnosis) > 0 && r.Diagnosis[0].Cause != "none" {
		p.Blank()
		p.diagnosis(r)
	}
}

var whoActs = map[string][2]string{
	codes.Sender:       {"you, in the mail program or message", "あなた (メールソフトやメッセージ)"},
	codes.YourServer:   {"whoever runs your mail server", "自分のメールサーバーの管理者"},
	codes.YourProvider: {"your mail provider", "契約しているメール事業者"},
	codes.Recipient:    {"the recipient's side", "相手側"},
}

// acts says who has to do something, and whether waiting helps.
func (p *Printer) acts(who string, temporary bool) {
	w, ok := whoActs[who]
	if !ok {
		return
	}
	wait := p.Lang.Pick("Waiting does not help.", "待っても解消しません。")
	if temporary {
		wait = p.Lang.Pick("Waiting and trying again can help.", "待ってからやり直すと解消することがあります。")
	}
	p.Line(0, p.Bold(p.Lang.Pick("Who acts: ", "対応する人: "))+p.Lang.Pick(w[0]+". ", w[1]+"。")+wait)
}

func (p *Printer) heading(s string, left int) {
	s = p.Bold(s)
	if left > 0 {
		s += "  " + p.Faint(p.more(left))
	}
	fmt.Fprintln(p.W, s)
}

// lines renders something and returns it line by line.
func (p *Printer) lines(write func(*Printer)) []string {
	var b bytes.Buffer
	q := *p
	q.W = &b
	write(&q)
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func (p *Printer) write(lines []string) {
	for _, l := range lines {
		fmt.Fprintln(p.W, l)
	}
}
