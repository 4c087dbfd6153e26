package report

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/fatih/color"

	"mailsrv/diag"
	"mailsrv/diag/spoolfix"
)

// Locks shows what locks scan found, or what locks clear did: the locks, what
// became of each, the findings, and the verdict. Quiet leaves the table out.
func (p *Printer) Locks(r *spoolfix.Report, quiet bool) {
	pick := p.Lang.Pick
	if !quiet {
		held := 0
		for _, s := range r.Spools {
			if len(s.Locks) > 0 {
				held++
			}
		}
		p.Line(0, p.Faint(fmt.Sprintf(pick("mailboxes: %d, with locks: %d", "メールボックス %d 件、ロックあり %d 件"), len(r.Spools), held)))
		p.lockTable(r.Spools)
		p.Blank()
	}
	for _, a := range r.Actions {
		p.action(a, r.DryRun)
	}
	if len(r.Actions) > 0 {
		p.Blank()
	}
	if r.DryRun && len(r.Actions) > 0 { // locks scan tells the rest
		p.VerdictLine(r.Summary)
		return
	}
	fs := r.Findings
	if quiet {
		fs = nil
		for _, f := range r.Findings {
			if f.Status != diag.OK && f.Status != diag.Info {
				fs = append(fs, f)
			}
		}
	}
	p.Findings(fs)
}

// stateWords name the states of locks.
var stateWords = map[string][2]string{
	spoolfix.Live: {"live", "使用中"}, spoolfix.Stale: {"stale", "残骸"}, spoolfix.Empty: {"empty", "空"},
	spoolfix.Partial: {"partial", "部分"}, spoolfix.Unknown: {"unknown", "不明"}, spoolfix.Unsafe: {"unsafe", "危険"},
}

func (p *Printer) lockTable(spools []spoolfix.Spool) {
	var rows [][]string
	for _, s := range spools {
		for _, l := range s.Locks {
			w := stateWords[l.State]
			row := []string{s.User, filepath.Base(l.Path), l.Kind, p.Lang.Pick(w[0], w[1]), p.age(l.AgeS)}
			note := ""
			switch {
			case l.Messages != nil && s.Spool != nil && s.Spool.Messages != nil:
				note = fmt.Sprintf(p.Lang.Pick("%s, %d in the spool", "メール %s、スプールに %d 通"), p.Count(*l.Messages), *s.Spool.Messages)
			case l.Messages != nil:
				note = fmt.Sprintf(p.Lang.Pick("%s, no spool", "メール %s、スプールなし"), p.Count(*l.Messages))
			}
			if l.PID > 0 && l.Alive {
				note = strings.TrimLeft(note+"  ", " ") + process(l.PID, l.Program, p.Lang.Pick("process", "プロセス"))
			}
			rows = append(rows, append(row, note))
		}
	}
	p.table(2, rows)
}

// table writes rows of cells below each other.
func (p *Printer) table(indent int, rows [][]string) {
	var width []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], lipgloss.Width(c))
		}
	}
	for _, r := range rows {
		line := strings.Repeat(" ", indent)
		for i, c := range r {
			line += c + strings.Repeat(" ", width[i]-lipgloss.Width(c)+2)
		}
		fmt.Fprintln(p.W, strings.TrimRight(line, " "))
	}
}

func process(pid int, program, word string) string {
	s := fmt.Sprintf("%s %d", word, pid)
	if program != "" {
		s += " (" + program + ")"
	}
	return s
}

// age is a time in seconds in the unit that people would use.
func (p *Printer) age(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	pick := p.Lang.Pick
	switch {
	case d < time.Minute:
		return fmt.Sprintf(pick("%d s", "%d 秒"), seconds)
	case d < 2*time.Hour:
		return fmt.Sprintf(pick("%d min", "%d 分"), int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf(pick("%d h", "%d 時間"), int(d.Hours()))
	}
	return fmt.Sprintf(pick("%d d", "%d 日"), int(d.Hours()/24))
}

// Count is a number of messages.
func (p *Printer) Count(n int) string {
	if n == 1 {
		return p.Lang.Pick("1 message", "1 通")
	}
	return fmt.Sprintf(p.Lang.Pick("%d messages", "%d 通"), n)
}

// action says in one sentence what became of a lock.
func (p *Printer) action(a spoolfix.Action, dryRun bool) {
	pick := p.Lang.Pick
	mark := p.paint("✓", color.FgGreen)
	var text string
	switch a.Action {
	case spoolfix.Merged:
		text = fmt.Sprintf(pick("%s: the mail of %s is back in %s: %s, none lost", "%s: %s のメールを %s に戻しました。合計 %s、失われたものはありません"), a.User, a.Path, a.Spool, p.Count(a.After))
		if dryRun {
			text = fmt.Sprintf(pick("%s: the mail of %s would go back to %s: %s then", "%s: %s のメールを %s に戻します。合計 %s になります"), a.User, a.Path, a.Spool, p.Count(a.After))
		}
		if a.Duplicates > 0 {
			text += fmt.Sprintf(pick(" (%d in both files)", " (両方にあったもの %d 通)"), a.Duplicates)
		}
	case spoolfix.Removed:
		text = fmt.Sprintf(pick("%s: %s is removed", "%s: %s を削除しました"), a.User, a.Path)
		if dryRun {
			text = fmt.Sprintf(pick("%s: %s would be removed", "%s: %s を削除します"), a.User, a.Path)
		}
	case spoolfix.Repaired:
		text = fmt.Sprintf(pick("%s: %s has its owner and mode back", "%s: %s の所有者とモードを直しました"), a.User, a.Path)
		if dryRun {
			text = fmt.Sprintf(pick("%s: %s would get its owner and mode back", "%s: %s の所有者とモードを直します"), a.User, a.Path)
		}
	default:
		mark = p.paint("-", color.FgYellow)
		text = fmt.Sprintf(pick("%s: %s is left as it is: %s", "%s: %s はそのままにしました: %s"), a.User, a.Path, p.why(a.Why, a.PID, a.Program, a.Error))
	}
	p.Labelled(0, mark, 2, text)
	for _, copied := range []string{a.Backup, a.SpoolBackup} {
		if copied != "" {
			p.Labelled(4, "", 4, p.Faint(pick("copy: ", "コピー: ")+copied))
		}
	}
}

// why says why something was left as it is.
func (p *Printer) why(why string, pid int, program, err string) string {
	pick := p.Lang.Pick
	who := process(pid, program, pick("process", "プロセス"))
	switch why {
	case spoolfix.WhyLive:
		if pid > 0 {
			return fmt.Sprintf(pick("%s holds it", "%sが使用中です"), who)
		}
		return pick("it is in use", "使用中です")
	case spoolfix.WhyUnknown:
		return pick("it cannot be judged yet (see below)", "まだ判定できません (下記参照)")
	case spoolfix.WhyOtherHost:
		return pick("only the host that made it can tell", "作成したホストでしか判定できません")
	case spoolfix.WhyUnsafe:
		return pick("a link, a folder or another user's file stands there", "リンク、フォルダー、または別のユーザーのファイルです")
	case spoolfix.WhyBusy:
		if pid > 0 {
			return fmt.Sprintf(pick("the mailbox is in use by %s", "メールボックスは%sが使用中です"), who)
		}
		return pick("another program has locked the mailbox", "別のプログラムがメールボックスをロックしています")
	case spoolfix.WhyChanged:
		return pick("another program changed it just now; try again", "別のプログラムが変更したばかりです。もう一度実行してください")
	case spoolfix.WhyPermission:
		return fmt.Sprintf(pick("there is no right to change it; run this as root (%s)", "変更する権限がありません。root で実行してください (%s)"), err)
	}
	return err
}

// Checked shows what mailbox check says of a file.
func (p *Printer) Checked(c spoolfix.Checked, quiet bool) {
	if quiet && c.Summary.Fail+c.Summary.Warn == 0 {
		return
	}
	p.Line(0, p.Faint(fmt.Sprintf(p.Lang.Pick("%s: %s, %d octets", "%s: メール %s、%d バイト"), c.File, p.Count(c.Messages), c.Size)))
	for _, f := range c.Findings {
		p.finding(f)
	}
	for i, d := range c.Damage {
		if i > 0 {
			p.Labelled(6, "", 6, fmt.Sprintf(p.Lang.Pick("Also mbox.%s, first at octet %d (%d).", "ほかに mbox.%s、最初は %d バイト目 (%d か所)。"), d.Kind, d.Offset, d.Count))
		}
	}
	p.Blank()
	p.VerdictLine(c.Summary)
}

// mendedWords say what was repaired.
var mendedWords = map[string][2]string{
	"nul_run":        {"NUL octets were taken out", "NUL を取り除きました"},
	"leading_junk":   {"what stood before the first message was removed, or made a message of its own if it was text", "最初のメールの前にあったものを取り除くか、文字列なら独立したメールにしました"},
	"damaged_from":   {"From lines were restored", "From 行を復元しました"},
	"content_length": {"wrong Content-Length fields were removed", "誤った Content-Length を取り除きました"},
	"no_blank_line":  {"blank lines were put before From lines", "From 行の前に空行を入れました"},
	"crlf":           {"line ends were changed from CRLF to LF", "改行を CRLF から LF に変えました"},
	"truncated_tail": {"the message that is cut off got its end; what is left of it is kept", "途中で切れたメールは残っている部分を保ち、末尾を整えました"},
}

// Repaired shows what mailbox repair did to a file.
func (p *Printer) Repaired(r spoolfix.RepairReport, quiet bool) {
	pick := p.Lang.Pick
	switch {
	case r.Action == spoolfix.Kept && r.Why == "":
		if !quiet {
			p.Labelled(0, p.paint("✓", color.FgGreen), 2, fmt.Sprintf(pick("%s: nothing to repair (%s)", "%s: 修復の必要はありません (メール %s)"), r.File, p.Count(r.Messages)))
		}
		return
	case r.Action == spoolfix.Kept:
		p.Labelled(0, p.paint("-", color.FgYellow), 2, fmt.Sprintf(pick("%s is left as it is: %s", "%s はそのままにしました: %s"), r.File, p.why(r.Why, r.PID, r.Program, r.Error)))
		p.Findings(r.Findings)
		return
	}
	text := fmt.Sprintf(pick("%s: %s, none lost; POP servers can read it", "%s: メール %s、失われたものはありません。POP サーバーで読めます"), r.File, p.Count(r.After))
	if r.DryRun {
		text = fmt.Sprintf(pick("%s: this would be repaired; %s then:", "%s: 次のように修復します。修復後はメール %s です:"), r.File, p.Count(r.After))
	}
	p.Labelled(0, p.paint("✓", color.FgGreen), 2, text)
	for _, m := range r.Mended {
		w := mendedWords[m.Kind]
		p.Labelled(2, "", 4, fmt.Sprintf(pick("%s (%d, first at octet %d)", "%s (%d か所、最初は %d バイト目)"), pick(w[0], w[1]), m.Count, m.Offset))
	}
	if r.Backup != "" {
		p.Labelled(4, "", 4, p.Faint(pick("copy: ", "コピー: ")+r.Backup))
	}
}
