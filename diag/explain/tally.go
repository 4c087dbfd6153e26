package explain

import (
	"cmp"
	"slices"
	"strings"

	"mailsrv/codes"
)

// A log is read line by line and counted by what its troubled lines come down
// to. However long it is, only so much is kept: the first troubled lines whole,
// one group a cause, and what was made of the latest different replies.
const (
	maxEvents   = 200     // troubled lines that are kept whole
	maxNames    = 256     // hosts that are counted for one cause
	maxTop      = 3       // hosts that are named
	maxVerdicts = 1 << 13 // replies whose judgement is remembered
	maxSample   = 600     // bytes of a sample line
)

// Log says how much of a log was read.
type Log struct {
	Lines   int    `json:"lines"`
	Trouble int    `json:"trouble"`         // lines that tell of trouble
	First   string `json:"first,omitempty"` // time stamps as written
	Last    string `json:"last,omitempty"`
}

// Group is one cause of trouble in a log.
type Group struct {
	Cause     string `json:"cause"`
	Count     int    `json:"count"`              // lines
	Failed    int    `json:"failed,omitempty"`   // of them: refused or given up
	Deferred  int    `json:"deferred,omitempty"` // of them: tried again later
	First     string `json:"first,omitempty"`
	Last      string `json:"last,omitempty"`
	Top       []Name `json:"top,omitempty"` // the other side's hosts, most lines first
	Sample    string `json:"sample"`
	Words     string `json:"words,omitempty"` // of the sample: those that the cause rests on
	Title     string `json:"title"`
	Who       string `json:"who,omitempty"`
	Temporary bool   `json:"temporary"`
}

// Name is a host and its number of lines.
type Name struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// tally counts the lines of a log.
type tally struct {
	log      Log
	other    int    // lines that are no log's
	open     *event // the last troubled line: further lines may continue it
	kept     []*facts
	groups   []*group // in the order of their first line
	verdicts map[string]string
}

type group struct {
	Group
	best     candidate // of its first line
	of       *facts
	names    map[string]int
	outsider int // lines in which our server refused a stranger
}

// add reads one line. It reports false when the text is no log after all.
func (t *tally) add(line string) bool {
	line = strings.TrimRight(line, "\r\n")
	if strings.TrimSpace(line) == "" {
		return true
	}
	e, ok := readLogLine(line)
	switch {
	case ok:
		t.flush()
		t.log.Lines++
		if e.time != "" {
			t.log.First, t.log.Last = cmp.Or(t.log.First, e.time), e.time
		}
		if e.outcome != fine {
			t.open = &e
		}
	case t.log.Lines > 0 && (line[0] == ' ' || line[0] == '\t'):
		if t.open != nil && len(t.open.reply) < maxValue {
			t.open.reply += "\n" + strings.TrimSpace(cut(line, maxValue))
		}
	default:
		t.other++
		return t.log.Lines > 0 || t.other <= 3
	}
	return true
}

// isLog tells whether enough of the lines were those of a log.
func (t *tally) isLog() bool { return t.log.Lines > 0 && t.other <= 2*t.log.Lines }

// flush judges the last troubled line, now that it is whole.
func (t *tally) flush() {
	e := t.open
	if e == nil {
		return
	}
	t.open = nil
	if len(t.kept) < maxEvents {
		x := eventFacts(*e)
		cause := x.verdict()
		if cause == "" {
			return
		}
		t.kept = append(t.kept, x)
		t.count(e, cause, x)
		return
	}
	key := e.likeness()
	cause, known := t.verdicts[key]
	var x *facts
	if !known {
		x = eventFacts(*e)
		cause = x.verdict()
		if t.verdicts == nil || len(t.verdicts) >= maxVerdicts {
			t.verdicts = make(map[string]string, maxVerdicts)
		}
		t.verdicts[key] = cause
	}
	if cause != "" {
		t.count(e, cause, x)
	}
}

// verdict is the likeliest cause of a troubled line, or "" when it tells of
// nothing after all.
func (f *facts) verdict() string {
	if cs := f.candidates(); len(cs) > 0 {
		return cs[0].cause
	}
	if f.event.outcome == unclear && len(f.codes) == 0 {
		return ""
	}
	return "unknown"
}

func (t *tally) count(e *event, cause string, x *facts) {
	t.log.Trouble++
	i := slices.IndexFunc(t.groups, func(g *group) bool { return g.Cause == cause })
	if i < 0 {
		i = len(t.groups)
		if x == nil {
			x = eventFacts(*e)
		}
		g := &group{Group: Group{Cause: cause, First: e.time, Sample: cut(strings.TrimSpace(e.line), maxSample)}, of: x, names: map[string]int{}}
		g.best = candidate{cause: cause, confidence: 0.1}
		if cs := x.candidates(); len(cs) > 0 {
			g.best = cs[0]
			if len(g.best.evidence) > 0 {
				g.Words = g.best.evidence[0]
			}
		}
		t.groups = append(t.groups, g)
	}
	g := t.groups[i]
	g.Count++
	g.Last = e.time
	switch e.outcome {
	case failed:
		g.Failed++
	case deferred:
		g.Deferred++
	}
	if e.client != "" && e.relay == "" {
		g.outsider++
	}
	name := cmp.Or(e.relay, e.client, domainPart(e.recipient))
	if oneMailbox[cause] {
		name = cmp.Or(e.recipient, name)
	}
	if name != "" {
		if _, counted := g.names[name]; counted || len(g.names) < maxNames {
			g.names[name]++
		}
	}
}

// oneMailbox are causes that lie in a mailbox: its owner counts, not the host.
var oneMailbox = map[string]bool{"mailbox-full": true, "mailbox-locked": true, "mailbox-damaged": true, "account-blocked": true}

func domainPart(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	return domain
}

// stopsServer are causes that keep the server itself from working: they come
// first, however few lines they take.
var stopsServer = map[string]bool{"disk-full-server": true, "mailbox-damaged": true, "port-in-use": true, "port-permission": true, "mail-loop": true}

// rank puts the worst group first: what stops the server itself, then what
// concerns most lines, and last what is only refused to strangers.
func (g *group) rank() int {
	switch {
	case stopsServer[g.Cause]:
		return 0
	case g.outsider == g.Count:
		return 2
	}
	return 1
}

// worst orders the groups.
func (t *tally) worst() []*group {
	out := slices.Clone(t.groups)
	slices.SortStableFunc(out, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(b.Count, a.Count))
	})
	return out
}

// result puts the group into words.
func (g *group) result(lang codes.Lang) Group {
	out := g.Group
	best := g.best
	best.spoken = false // the words of one line do not stand for the others
	d := g.of.diagnoses([]candidate{best}, lang)[0]
	out.Title, out.Who, out.Temporary = d.Title, d.Who, d.Temporary
	for name, n := range g.names {
		out.Top = append(out.Top, Name{name, n})
	}
	slices.SortFunc(out.Top, func(a, b Name) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	out.Top = out.Top[:min(len(out.Top), maxTop)]
	return out
}

// likeness is what two troubled lines have in common that are judged alike: all
// but addresses, identifiers and times.
func (e *event) likeness() string {
	var b strings.Builder
	b.WriteString(e.program)
	b.WriteByte(byte('0' + e.outcome))
	b.WriteString(e.status)
	b.WriteByte(' ')
	b.WriteString(e.protocol)
	if e.port == 25 {
		b.WriteByte('m')
	}
	if strings.Contains(e.line, "T=remote_smtp") {
		b.WriteByte('r')
	}
	for s := e.reply; s != ""; {
		end := strings.IndexAny(s, " \n<>()[]\"'=,;")
		if end < 0 {
			end = len(s)
		}
		if word := s[:end]; strings.Contains(word, "@") || len(word) > 5 && strings.ContainsAny(word, "0123456789") && !strings.HasPrefix(word, "0x") {
			b.WriteByte('#')
		} else {
			b.WriteString(word)
		}
		if end < len(s) {
			b.WriteByte(s[end])
			end++
		}
		s = s[end:]
	}
	return b.String()
}
