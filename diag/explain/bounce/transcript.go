package bounce

import "strings"

// transcript reads the form of sendmail and its relatives: a list of addresses
// under a rule, and below it the dialogue with other servers, ">>>" what was
// sent, "<<<" what came back, and sendmail's own words without either.
//
//	----- The following addresses had permanent fatal errors -----
//	<user@example.com>
//	    (reason: 550 5.1.1 User unknown)
//	----- Transcript of session follows -----
//	... while talking to mx.example.com.:
//	>>> RCPT To:<user@example.com>
//	<<< 550 5.1.1 User unknown
//	550 5.1.1 <user@example.com>... User unknown
func transcript(lines []string) []entry {
	if !hasTranscript(lines) {
		return nil
	}
	t := talk{}
	section := ""
	for _, line := range lines {
		trimmed := strings.TrimSpace(line)
		switch lower := strings.ToLower(trimmed); {
		case trimmed == "":
		case strings.HasPrefix(trimmed, "---"):
			section = lower
		case strings.HasPrefix(trimmed, ">>> ") && strings.Contains(section, "addresses"):
			if a, _ := findAddress(trimmed); a != "" {
				t.listed(a)
			}
		case strings.HasPrefix(trimmed, ">>> "):
			t.sent(trimmed[4:])
		case strings.HasPrefix(trimmed, "<<< "):
			t.received(trimmed[4:])
		case strings.Contains(lower, "while talking to "):
			t.host(lower)
		case strings.Contains(section, "addresses"):
			t.list(trimmed)
		case strings.Contains(section, "transcript"):
			t.own(trimmed)
		}
	}
	return t.entries()
}

// hasTranscript tells whether the lines are of that form.
func hasTranscript(lines []string) bool {
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "---") {
			continue
		}
		if lower := strings.ToLower(line); strings.Contains(lower, "transcript of session") || strings.Contains(lower, "addresses had") || strings.Contains(lower, "address had") {
			return true
		}
	}
	return false
}

// talk collects a transcript.
type talk struct {
	out     []entry
	replies []reply
	remote  string
	command string
	rest    []string // sendmail's own lines that name nobody
}

// reply is one answer of a remote server, its lines joined.
type reply struct {
	host, command, text, to string
	open                    bool // its last line announced another
}

func (t *talk) find(a string) *entry {
	for i := range t.out {
		if strings.EqualFold(t.out[i].address, a) {
			return &t.out[i]
		}
	}
	if len(t.out) == maxRecipients {
		return &t.out[0]
	}
	t.out = append(t.out, entry{address: a})
	return &t.out[len(t.out)-1]
}

func (t *talk) listed(a string) { t.find(a) }

// list reads a line of the list of addresses: an address, or "(reason: ...)"
// and "(expanded from: ...)" below it.
func (t *talk) list(line string) {
	if r, ok := strings.CutPrefix(line, "(reason:"); ok {
		if len(t.out) > 0 {
			t.out[len(t.out)-1].text = oneLine(strings.TrimSuffix(strings.TrimSpace(r), ")"))
		}
		return
	}
	if r, ok := strings.CutPrefix(line, "(expanded from:"); ok {
		if a, _ := findAddress(r); a != "" && (len(t.out) == 0 || t.out[len(t.out)-1].address == "") {
			t.find(a)
		}
		return
	}
	if a, rest, ok := headAddress(line); ok {
		e := t.find(a)
		if rest = strings.Trim(rest, " []()"); rest != "" && e.text == "" {
			e.text = rest
		}
		return
	}
	if strings.HasPrefix(line, `"|`) || strings.HasPrefix(line, "|") { // a pipe: its address stands in "expanded from"
		t.out = append(t.out, entry{})
	}
}

func (t *talk) host(line string) {
	_, h, _ := strings.Cut(line, "while talking to ")
	t.remote = strings.Trim(h, " .:")
	t.command = "CONN"
}

func (t *talk) sent(line string) {
	verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
	t.command = strings.TrimRight(verb, ":")
	if t.command == "HELO" {
		t.command = "EHLO"
	}
	if a, _ := findAddress(line); a != "" && t.command == "RCPT" {
		t.replies = append(t.replies, reply{host: t.remote, command: t.command, to: a})
	}
}

func (t *talk) received(line string) {
	code, end := replyAt(line, 0)
	if n := len(t.replies); n > 0 && t.replies[n-1].open && code != "" && strings.HasPrefix(t.replies[n-1].text, code) {
		r := &t.replies[n-1]
		text := strings.TrimLeft(line[end:], "- ")
		if a, ok := findAnswer(r.text); ok && a.status != "" {
			text = strings.TrimPrefix(text, a.status)
		}
		r.text += " " + strings.TrimSpace(text)
		r.open = end < len(line) && line[end] == '-'
		return
	}
	if code == "503" { // commands out of order: the refusal before answered a pipelined RCPT
		for i := range t.replies {
			if t.replies[i].command == "DATA" && t.replies[i].host == t.remote {
				t.replies[i].command = "RCPT"
			}
		}
		return
	}
	r := reply{host: t.remote, command: t.command, text: line, open: code != "" && end < len(line) && line[end] == '-'}
	if n := len(t.replies); n > 0 && t.replies[n-1].text == "" {
		r.to = t.replies[n-1].to
		t.replies[n-1] = r
		return
	}
	t.replies = append(t.replies, r)
}

// own reads sendmail's own line: "550 5.1.1 <user>... User unknown",
// "<user>... Deferred: ...", "554 5.0.0 Service unavailable".
func (t *talk) own(line string) {
	head := line
	if code, end := replyAt(line, 0); code != "" {
		head = strings.TrimLeft(line[end:], " -")
		if n, ok := enhancedAt(head, 0); ok {
			head = strings.TrimLeft(head[n:], " ")
		}
	}
	a, rest, ok := headAddress(head)
	if !ok || !strings.HasPrefix(strings.TrimLeft(rest, " "), "...") {
		t.rest = append(t.rest, line)
		return
	}
	e := t.find(a)
	words := strings.TrimLeft(rest, " .")
	if n := len(t.replies); n > 0 && t.replies[n-1].to == "" && t.replies[n-1].text != "" {
		t.replies[n-1].to = a
		if strings.Contains(strings.ToLower(words), "user unknown") && t.replies[n-1].command == "DATA" {
			t.replies[n-1].command = "RCPT" // sendmail says so of refused recipients only
		}
	}
	if e.text == "" {
		e.text, e.local = line, e.command == "" && len(t.replies) == 0
		if _, found := findAnswer(words); found { // "554 <user>... 550 Host unknown"
			e.text = words
		}
	}
}

// entries brings recipients and replies together.
func (t *talk) entries() []entry {
	var out []entry
	if len(t.out) == 0 { // no list: the dialogue itself names the recipients
		for _, r := range t.replies {
			if r.to != "" && r.text != "" {
				t.find(r.to)
			}
		}
	}
	for _, e := range t.out {
		if e.address == "" {
			continue
		}
		r := t.replyTo(e, len(t.out) == 1)
		if r != nil {
			e.command, e.host = r.command, r.host
			if e.text == "" || fuller(r.text, e.text) {
				e.text = oneLine(r.text)
			}
		}
		if e.text == "" || bareNumber(e.text) {
			e.text = oneLine(strings.Join(append([]string{e.text}, t.rest...), " "))
		}
		out = append(out, e)
	}
	return out
}

// replyTo returns the remote reply that e rests on.
func (t *talk) replyTo(e entry, only bool) *reply {
	var first *reply
	for i := range t.replies {
		r := &t.replies[i]
		if r.text == "" {
			continue
		}
		if strings.EqualFold(r.to, e.address) || e.text != "" && (strings.HasPrefix(r.text, e.text) || strings.HasPrefix(e.text, r.text)) {
			return r
		}
		if first == nil && only && (r.text[0] == '4' || r.text[0] == '5') {
			first = r
		}
	}
	return first
}

// fuller tells whether the reply a says more than b: the lines that follow b's,
// or words where b has sendmail's own summary.
func fuller(a, b string) bool {
	return len(a) > len(b) && strings.HasPrefix(a, b) || b[0] == '<' || strings.Contains(b, ">... ")
}

// bareNumber tells an exit status: "255".
func bareNumber(s string) bool {
	for i := range len(s) {
		if !digit(s[i]) {
			return false
		}
	}
	return true
}
