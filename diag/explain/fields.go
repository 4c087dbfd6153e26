package explain

import (
	"bytes"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// maxDialog is how much of a text is searched for labelled fields: no dialog is
// longer. maxValue limits one value.
const (
	maxDialog = 64 << 10
	maxValue  = 2 << 10
)

// field is one labelled value of a dialog: "Port: 110".
type field struct {
	name  string // a section of data/labels.txt: account, server, ...
	label string // as written
	value string
	loose bool // no ":" or "=" stood between label and value
}

// evidence is the field as it is quoted to the reader.
func (f field) evidence() string { return f.label + ": " + f.value }

type labelTable struct {
	byText  map[string]string // flattened label -> field
	lengths []int             // of the labels, longest first
}

var labels = sync.OnceValue(func() labelTable {
	t := labelTable{byText: make(map[string]string, 512)}
	longest := 0
	for _, s := range sections(labelsFile) {
		for _, line := range s.lines {
			flat, _ := flatten(line) // keeps the "|"
			for l := range strings.SplitSeq(string(flat), "|") {
				if _, taken := t.byText[l]; !taken {
					t.byText[l] = s.name
					longest = max(longest, len(l))
				}
			}
		}
	}
	have := make([]bool, longest+1)
	for l := range t.byText {
		have[len(l)] = true
	}
	for n := longest; n > 0; n-- {
		if have[n] {
			t.lengths = append(t.lengths, n)
		}
	}
	return t
})

// endOf returns the longest label that flat ends with and that may begin where
// it does in s, and its length: behind "gsmtp" and a line end "Server" is the
// label, not "smtp Server".
func (t labelTable) endOf(s string, flat []byte, at []int) (name string, n int) {
	for _, n := range t.lengths {
		if n <= len(flat) {
			if name, ok := t.byText[string(flat[len(flat)-n:])]; ok && labelBoundary(s, at[len(flat)-n]) {
				return name, n
			}
		}
	}
	return "", 0
}

// flatten drops what does not matter in labels: spaces, line breaks, round
// brackets, case. at maps each byte to its character in s.
func flatten(s string) (flat []byte, at []int) {
	flat, at = make([]byte, 0, len(s)), make([]int, 0, len(s)+1)
	for i, r := range s {
		if r == ' ' || r == '\t' || r == '\n' || r == '(' || r == ')' {
			continue
		}
		n := len(flat)
		flat = utf8.AppendRune(flat, unicode.ToLower(r))
		for range len(flat) - n {
			at = append(at, i)
		}
	}
	return flat, append(at, len(s))
}

// mark is a label found in a text.
type mark struct {
	name     string
	from, to int // the label
	value    int // where its value begins
	loose    bool
}

// readFields finds the labelled values of a dialog, in the order in which they
// stand.
func readFields(s string) []field {
	s = cut(s, maxDialog)
	marks := findMarks(s)
	var out []field
	end := 0
	for i, m := range marks {
		if m.from < end {
			continue // stands inside the value before it
		}
		next := len(s)
		for _, n := range marks[i+1:] {
			if n.from >= m.value && !m.speaks(s, n) {
				next = n.from
				break
			}
		}
		value, to := valueAt(s, m, next)
		if value == "" {
			continue
		}
		end = to
		out = append(out, field{m.name, oneLine(s[m.from:m.to]), value, m.loose})
	}
	return out
}

// speaks tells whether what looks like a label is a word of the reply that m
// announces: "452 4.5.3 Error: too many recipients". A label stands on a line of
// its own or behind a comma.
func (m mark) speaks(s string, n mark) bool {
	before := strings.TrimRight(s[m.value:n.from], " \t")
	return m.name == "response" && before != "" && (isWord(before[len(before)-1]) || strings.IndexByte(">.:;)]", before[len(before)-1]) >= 0)
}

// findMarks looks at every ":", "=" and quotation mark, and back from there for
// a label.
func findMarks(s string) []mark {
	table := labels()
	flat, at := flatten(s)
	var out []mark
	for p := 0; p < len(flat); {
		sep := 0
		loose := flat[p] == '\'' || flat[p] == '"'
		if isDigit(flat[p]) && p > 0 && !isWord(flat[p-1]) || flat[p] == '1' && p > 0 && isAlpha(flat[p-1]) {
			if m, ok := numberMark(s, table, flat, at, p); ok { // "Socket Error 10061"
				out = append(out, m)
			}
		}
		dash := flat[p] == '-' && spaced(s, at[p]) // "Socket error - 11001"
		if dash {
			sep = 1
		}
		for !loose && !dash && p+sep < len(flat) && (flat[p+sep] == ':' || flat[p+sep] == '=') {
			sep++
		}
		if sep == 0 && !loose {
			p++
			continue
		}
		label := flat[:p]
		name, n := table.endOf(s, label, at)
		for _, verb := range copulas {
			if name == "" && loose && bytes.HasSuffix(label, []byte(verb)) {
				label = label[:len(label)-len(verb)]
				name, n = table.endOf(s, label, at)
			}
		}
		if name != "" {
			from, last := at[len(label)-n], at[len(label)-1]
			_, size := utf8.DecodeRuneInString(s[last:])
			m := mark{name: name, from: from, to: last + size, value: at[p+sep], loose: loose}
			apostrophe := loose && m.value == m.to && s[last] < utf8.RuneSelf // "host's"
			assignment := name == "response" && !loose && flat[p] == '='      // reply=$(...)
			prose := dash && !firstOfLine(s, from)
			m.loose = m.loose || dash && !telling[name]
			if !apostrophe && !assignment && !prose {
				out = append(out, m)
			}
		}
		p += max(1, sep)
	}
	return out
}

// telling are the fields whose values tell by themselves whether they are one: a
// dash before them is as good as a colon.
var telling = map[string]bool{"protocol": true, "port": true, "tls": true, "server_error": true, "socket_error": true, "error_number": true}

// spaced tells whether a dash stands apart from the words around it.
func spaced(s string, i int) bool {
	return i > 0 && s[i-1] == ' ' && i+1 < len(s) && s[i+1] == ' '
}

// firstOfLine tells whether only blanks stand before i in its line.
func firstOfLine(s string, i int) bool {
	before := strings.TrimRight(s[:i], " \t")
	return before == "" || before[len(before)-1] == '\n'
}

// copulas may stand between a label and a quoted value: "The sender's address
// was 'a@example.com'".
var copulas = []string{"は", "is", "was", "ist", "war", "lautet", "est", "était", "es", "era", "fue", "è", "é", "foi", "是", "为", "為"}

// numberMark takes the number at flat[p] as the value of the label right before
// it, where only an error number can stand there: 10061 behind "socket error".
func numberMark(s string, table labelTable, flat []byte, at []int, p int) (mark, bool) {
	name, n := table.endOf(s, flat[:p], at)
	if name != "socket_error" {
		return mark{}, false
	}
	v := leadingNumber(s[at[p]:])
	from, last := at[p-n], at[p-1]
	_, size := utf8.DecodeRuneInString(s[last:])
	if !socketRange(v) {
		return mark{}, false
	}
	return mark{name: name, from: from, to: last + size, value: at[p]}, true
}

// labelBoundary tells whether a label may begin at i: not in the middle of a
// word, where words are written apart.
func labelBoundary(s string, i int) bool {
	first, _ := utf8.DecodeRuneInString(s[i:])
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	return i == 0 || isCJK(first) || isCJK(before) || !unicode.IsLetter(before) && !unicode.IsDigit(before) && before != '_'
}

// valueAt reads the value of a label, which ends at next at the latest: there
// the next label stands.
func valueAt(s string, m mark, next int) (value string, to int) {
	from := m.value
	if from >= next {
		return "", from
	}
	next = min(next, from+maxValue)
	for next < len(s) && !utf8.RuneStart(s[next]) {
		next--
	}
	if q := s[from]; q == '\'' || q == '"' {
		if to := closingQuote(s, q, from+1, next, m.loose && m.name != "response"); to > 0 {
			return unwrap(s, from+1, to), to + 1
		}
		from++
	}
	to = next
	if _, n, _ := hexCode(s[from:next]); n > 0 {
		to = from + n
		return strings.Join(strings.Fields(s[from:to]), ""), to
	}
	if n := strings.IndexByte(s[from:to], '\n'); n >= 0 {
		rest := strings.TrimSpace(s[from+n : to])
		switch {
		case m.name == "response": // to the end of the paragraph
			if n := strings.Index(s[from:to], "\n\n"); n >= 0 {
				to = from + n
			}
		case next == len(s), !strings.HasSuffix(rest, ",") && !strings.HasSuffix(rest, "、"), strings.Contains(rest, " "):
			to = from + n // one field a line
		}
	}
	return strings.Trim(unwrap(s, from, to), " ,;、。'\""), to
}

// closingQuote finds the end of a quoted value: a quotation mark before a comma
// or at the end, else the last one that no letter follows: replies of servers
// hold apostrophes of their own. Within a sentence it is the first such.
func closingQuote(s string, q byte, from, next int, sentence bool) int {
	last := 0
	for i := from; i < next; i++ {
		if s[i] != q {
			continue
		}
		rest := strings.TrimLeft(s[i+1:], " ")
		r, _ := utf8.DecodeRuneInString(rest)
		switch {
		case rest == "" || strings.ContainsRune(",;、。\n)", r):
			return i
		case i+1 == len(s) || !isWord(s[i+1]):
			if sentence {
				return i
			}
			last = i
		}
	}
	if last > 0 {
		return last
	}
	// A label inside the quotation: the next mark closes it, unless it opens
	// another one.
	if i := strings.IndexByte(s[next:min(len(s), from+maxValue)], q); i > 0 && strings.IndexByte(" :=\n", s[next+i-1]) < 0 {
		return next + i
	}
	return 0
}

// unwrap joins the lines of s[from:to]. A program that wraps at a fixed column
// splits Japanese and Chinese text anywhere; elsewhere a line end stands for a
// space.
func unwrap(s string, from, to int) string {
	var b strings.Builder
	at := from
	for {
		n := strings.IndexByte(s[at:to], '\n')
		if n < 0 {
			b.WriteString(s[at:to])
			return strings.TrimSpace(b.String())
		}
		b.WriteString(strings.TrimRight(s[at:at+n], " \t"))
		line := s[strings.LastIndexByte(s[:at+n], '\n')+1 : at+n]
		if !hardWrapped(line) {
			b.WriteByte(' ')
		}
		at += n + 1
		for at < to && (s[at] == ' ' || s[at] == '\t') {
			at++
		}
	}
}

func hardWrapped(line string) bool {
	width, wide := 0, 0
	for _, r := range line {
		width++
		if isCJK(r) {
			width++
			wide++
		}
	}
	return wide > 0 && width >= 70
}

// oneLine joins the lines and blanks of a short text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
