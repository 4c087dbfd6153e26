package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"mailsrv/server/domains"
)

// maxFile bounds how much of a file is read; a configuration has a few kB, and
// the parser's time grows with the square of the number of keys.
const maxFile = 256 << 10

// Load reads the configuration file at path, or returns the defaults for an
// empty path. The configuration is never nil: what could not be read keeps its
// default, except that a host name and domains are kept as they were written.
// It may be used to serve only when there are no problems.
//
// The domains that "mailsrv domain add" put into the data directory are added.
// Where they cannot be read, the server will say so.
func Load(path string) (*Config, Problems) {
	c, problems := load(path)
	added, _ := domains.Read(c.DataDir)
	for _, d := range added {
		if _, err := ParseDomain(d); err == nil && !slices.Contains(c.Domains, d) {
			c.Domains, c.Added = append(c.Domains, d), append(c.Added, d)
		}
	}
	return c, problems
}

func load(path string) (*Config, Problems) {
	if path == "" {
		return Default(), nil
	}
	data, p := read(path)
	if p != nil {
		c := base()
		c.File = path
		c.DataDir = c.beside("mailsrv-data")
		return c, Problems{*p}
	}
	return Parse(path, data)
}

func read(path string) ([]byte, *Problem) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Problem{Kind: NotFound, File: path, Message: "there is no such configuration file"}
	}
	var data []byte
	if err == nil {
		defer f.Close()
		data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	}
	if err == nil && len(data) > maxFile {
		err = errors.New("longer than 256 KiB: no configuration file")
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &Problem{Kind: Unreadable, File: path, Message: "cannot be read: " + err.Error()}
	}
	return data, nil
}

// Placeholders finds what "config default" prints as an example and nobody has
// changed: no mistakes, but hardly meant.
func Placeholders(path string) (ps Problems) {
	data, p := read(path)
	if p != nil || checkSyntax(&data) != nil {
		return nil
	}
	l := loader{c: base()}
	l.c.File = path
	l.walk(data)
	example := func(name string) bool {
		name = strings.TrimSuffix(strings.ToLower(name), ".")
		for _, e := range []string{"example.com", "example.net", "example.org"} {
			if name == e || strings.HasSuffix(name, "."+e) {
				return true
			}
		}
		return false
	}
	found := func(key string, v value, instead string) {
		ps = append(ps, Problem{Kind: BadValue, File: path, Line: v.line, Column: v.col, Key: key, Value: v.raw, Message: "is still the example: " + instead})
	}
	if v := l.places["hostname"]; example(v.text) {
		found("hostname", v, "put this machine's own name there, as other servers see it")
	}
	v := l.places["domains"]
	list := v.list
	if v.kind != listValue {
		list = []value{v}
	}
	for _, d := range list {
		if example(d.text) {
			found("domains", d, "put your own domain there; mail for this one never reaches you")
		}
	}
	return ps
}

// Parse reads the configuration in data; file is its name in messages and what
// relative paths are relative to.
func Parse(file string, data []byte) (*Config, Problems) {
	c := base()
	c.File = file
	c.DataDir = c.beside("mailsrv-data")
	if p := checkSyntax(&data); p != nil {
		p.File = file
		return c, Problems{*p}
	}
	l := loader{c: c}
	l.walk(data)
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if l.lost != nil {
		l.problems = append(l.problems, *l.lost)
	} else {
		l.problems = append(l.problems, l.missing()...)
	}
	for i := range l.problems {
		l.problems[i].File = file
	}
	return c, l.problems
}

// checkSyntax finds what is not TOML, and keys and tables that stand twice. It
// takes away the byte order mark that Windows editors write.
func checkSyntax(data *[]byte) *Problem {
	if bytes.HasPrefix(*data, []byte("\xff\xfe")) || bytes.HasPrefix(*data, []byte("\xfe\xff")) {
		return &Problem{Kind: Syntax, Line: 1, Column: 1, Message: "the file is in UTF-16: save it as UTF-8"}
	}
	*data = bytes.TrimPrefix(*data, []byte("\xef\xbb\xbf"))
	var any map[string]any
	err := toml.Unmarshal(*data, &any)
	if err == nil {
		return nil
	}
	p := &Problem{Kind: Syntax, Message: strings.TrimPrefix(err.Error(), "toml: ")}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		p.Line, p.Column = de.Position()
		if lines := strings.Split(string(*data), "\n"); p.Line > 0 && p.Line <= len(lines) {
			line := strings.TrimSpace(lines[p.Line-1])
			if !strings.Contains(line, "password") {
				p.Message += fmt.Sprintf(", in the line %q", clip(line, 60))
			}
			if strings.ContainsAny(line, "“”„＂’‘＝") {
				p.Message += `; quotes and = must be the plain ASCII ones: " ' =`
			}
		}
	}
	return p
}

func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// The kinds of value as far as settings tell them apart.
const (
	stringValue = iota + 1
	intValue
	boolValue
	listValue
	otherValue
)

// value is a TOML value with its place. text is a string's content, or the
// value as written for the other kinds; raw is always as written.
type value struct {
	kind      int
	text, raw string
	list      []value
	line, col int
}

type loader struct {
	c        *Config
	p        unstable.Parser
	problems Problems
	saidLost map[string]bool  // unknown tables already reported
	lines    []int            // where each line begins
	places   map[string]value // of the settings that stand in the file
	lost     *Problem         // where it gave up
}

func (l *loader) givenUp() bool { return len(l.problems) >= maxProblems }

// maxProblems is how many mistakes are told of one file: with more it is
// probably no configuration of mailsrv at all.
const maxProblems = 100

// walk visits every key of the document. checkSyntax has accepted it.
func (l *loader) walk(data []byte) {
	l.saidLost, l.places = map[string]bool{}, map[string]value{}
	l.lines = []int{0}
	for i, b := range data {
		if b == '\n' {
			l.lines = append(l.lines, i+1)
		}
	}
	l.p.Reset(data)
	var table string
	skip := false
	for l.p.NextExpression() {
		e := l.p.Expression()
		if l.givenUp() {
			line, col := l.at(firstKey(e))
			l.lost = &Problem{Kind: UnknownKey, Line: line, Column: col, Key: l.keyOf(e),
				Message: fmt.Sprintf("is not looked at, nor what follows: there are more than %d mistakes already; is this a configuration of mailsrv?", maxProblems)}
			return
		}
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = l.keyOf(e)
			skip = !l.enter(table, e.Kind == unstable.ArrayTable, e)
			if e.Kind == unstable.ArrayTable || arrays[table] != nil {
				table += "[]"
			}
		case unstable.KeyValue:
			if !skip {
				l.keyValue(table, e)
			}
		}
	}
}

func (l *loader) keyOf(e *unstable.Node) string {
	var parts []string
	for it := e.Key(); it.Next(); {
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, ".")
}

// enter checks a table's name and makes room for one more array table.
func (l *loader) enter(table string, array bool, e *unstable.Node) bool {
	line, col := l.at(firstKey(e))
	if begin := arrays[table]; array && begin != nil {
		begin(l.c, line)
		return true
	}
	for _, s := range settings {
		switch {
		case s.key == table:
			l.add(Problem{Kind: BadValue, Line: line, Column: col, Key: table, Message: "is a setting, not a table: write " + table + " = ..."})
			return false
		case strings.HasPrefix(s.key, table+"."):
			if array {
				l.add(Problem{Kind: BadValue, Line: line, Column: col, Key: table, Message: "stands in single brackets: [" + table + "]"})
			}
			return !array
		case strings.HasPrefix(s.key, table+"[]."):
			l.add(Problem{Kind: BadValue, Line: line, Column: col, Key: table, Message: "stands in double brackets: [[" + table + "]]"})
			return false
		}
	}
	l.unknown("["+table+"]", table, tables(), line, col)
	return false
}

func (l *loader) keyValue(table string, e *unstable.Node) {
	key := l.keyOf(e)
	if table != "" {
		key = table + "." + key
	}
	line, col := l.at(firstKey(e))
	l.setting(key, e.Value(), line, col)
}

func (l *loader) setting(key string, n *unstable.Node, line, col int) {
	if n.Kind == unstable.InlineTable && slices.Contains(tables(), key) {
		for it := n.Children(); it.Next(); {
			line, col := l.at(firstKey(it.Node()))
			l.setting(key+"."+l.keyOf(it.Node()), it.Node().Value(), line, col)
		}
		return
	}
	i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if i < 0 {
		if slices.Contains(tables(), key) {
			l.add(Problem{Kind: BadValue, Line: line, Column: col, Key: key, Message: "is a table: its settings follow a line [" + key + "]"})
			return
		}
		l.unknown(key, key, keys(), line, col)
		return
	}
	v := l.value(n, line, col)
	s := settings[i]
	l.places[key] = v
	if s.set != nil {
		f := s.set(l.c, v)
		if l.fault(key, v, f); f.kind != "" {
			return
		}
	}
	if s.item == nil {
		return
	}
	list := v.list
	if v.kind != listValue {
		list = []value{v}
	}
	for _, item := range list {
		if !l.givenUp() {
			l.fault(key, item, s.item(l.c, item))
		}
	}
}

func (l *loader) fault(key string, v value, f fault) {
	if f.kind != "" {
		p := Problem{Kind: f.kind, Line: v.line, Column: v.col, Key: key, Value: clip(v.raw, 80), Message: f.message, Suggestion: f.suggestion, Later: f.later}
		if slices.ContainsFunc(settings, func(s setting) bool { return s.key == key && s.secret }) {
			p.Value, p.Suggestion = "", ""
		}
		l.add(p)
	}
}

func (l *loader) unknown(shown, name string, known []string, line, col int) {
	table := name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		table = name[:i]
	}
	if !strings.HasPrefix(shown, "[") && table != name && !slices.Contains(tables(), strings.TrimSuffix(table, "[]")) {
		// "lisen.smtp = ..." without a table line: the table is the mistake.
		if l.saidLost[table] {
			return
		}
		l.saidLost[table] = true
	}
	p := Problem{Kind: UnknownKey, Line: line, Column: col, Key: shown, Message: "there is no such setting"}
	if strings.HasPrefix(shown, "[") {
		p.Message = "there is no such table"
	}
	if near := likelyKey(name, known); near != "" {
		p.Suggestion = near
		if strings.HasPrefix(shown, "[") {
			p.Suggestion = "[" + near + "]"
		}
	}
	l.add(p)
}

func (l *loader) add(p Problem) { l.problems = append(l.problems, p) }

// likelyKey finds the known key that name was meant to be: one of nearly the
// same spelling, or the same last word in another table.
func likelyKey(name string, known []string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	for _, k := range known {
		if k[strings.LastIndexByte(k, '.')+1:] == last {
			return k
		}
	}
	return nearest(name, known)
}

func keys() []string {
	out := make([]string, len(settings))
	for i, s := range settings {
		out[i] = s.key
	}
	return out
}

// tables are the names that may stand in [brackets].
func tables() []string {
	var out []string
	for _, s := range settings {
		parts := strings.Split(strings.ReplaceAll(s.key, "[]", ""), ".")
		for n := 1; n < len(parts); n++ {
			if t := strings.Join(parts[:n], "."); !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out
}

// value copies what the parser's next step would overwrite.
func (l *loader) value(n *unstable.Node, line, col int) value {
	v := value{kind: otherValue, text: string(n.Data), raw: string(n.Data), line: line, col: col}
	if n.Raw.Length > 0 {
		v.raw = string(l.p.Raw(n.Raw))
		v.line, v.col = l.at(n)
	}
	switch n.Kind {
	case unstable.String:
		v.kind = stringValue
	case unstable.Integer:
		v.kind = intValue
	case unstable.Bool:
		v.kind = boolValue
	case unstable.Array:
		v.kind = listValue
		var raws []string
		for it := n.Children(); it.Next(); {
			item := l.value(it.Node(), line, col)
			v.list = append(v.list, item)
			raws = append(raws, item.raw)
		}
		v.raw = "[" + strings.Join(raws, ", ") + "]"
	}
	return v
}

func firstKey(e *unstable.Node) *unstable.Node {
	it := e.Key()
	it.Next()
	return it.Node()
}

func (l *loader) at(n *unstable.Node) (line, col int) {
	offset := int(n.Raw.Offset)
	line, found := slices.BinarySearch(l.lines, offset)
	if found {
		line++
	}
	return line, offset - l.lines[line-1] + 1
}
