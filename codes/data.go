package codes

import (
	"embed"
	"iter"
	"strconv"
	"strings"
)

//go:embed data/*.toml
var files embed.FS

// Families are the data files with entries, in the order in which a number
// that several of them know is answered. What a family holds stands in the
// comment at the top of its file.
var Families = []string{
	"outlook", "winsock", "smtp", "enhanced", "argosoft", "wiz98", "text", "topic",
}

// read returns a data file; files that are missing from the binary are a
// programming error.
func read(name string) string {
	b, err := files.ReadFile("data/" + name + ".toml")
	if err != nil {
		panic("codes: " + err.Error())
	}
	return string(b)
}

// chunks splits a data file at its table headers. Each chunk is a TOML document
// of its own, so that one entry can be decoded without the rest of its file.
func chunks(file, header string) []string {
	var out []string
	for rest := file; ; {
		start := headerAt(rest, header)
		if start < 0 {
			return out
		}
		rest = rest[start:]
		end := headerAt(rest[len(header):], header)
		if end < 0 {
			return append(out, rest)
		}
		out = append(out, rest[:len(header)+end])
		rest = rest[len(header)+end:]
	}
}

func headerAt(s, header string) int {
	if strings.HasPrefix(s, header+"\n") {
		return 0
	}
	if i := strings.Index(s, "\n"+header+"\n"); i >= 0 {
		return i + 1
	}
	return -1
}

// chunkKeys reads an entry's code, symbol and aliases off its leading lines.
// The format test holds that these three stand on one line each.
func chunkKeys(chunk string) []string {
	var out []string
	for line := range headLines(chunk) {
		key, value, _ := strings.Cut(line, " = ")
		switch key {
		case "code", "symbol":
			if s, err := strconv.Unquote(value); err == nil && s != "" {
				out = append(out, s)
			}
		case "aliases":
			out = append(out, quoted(value)...)
		}
	}
	return out
}

// chunkWords returns the values of one key on the leading lines of a chunk.
func chunkWords(chunk, key string) []string {
	var out []string
	for line := range strings.Lines(chunk) {
		if rest, ok := strings.CutPrefix(line, key+" = "); ok {
			out = append(out, quoted(rest)...)
		}
	}
	return out
}

// headLines yields the lines of an entry before its first language table.
func headLines(chunk string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(chunk) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "[entry.") {
				return
			}
			if !yield(line) {
				return
			}
		}
	}
}

// quoted returns the basic strings on one line of TOML.
func quoted(line string) []string {
	var out []string
	for {
		i := strings.IndexByte(line, '"')
		if i < 0 {
			return out
		}
		q, err := strconv.QuotedPrefix(line[i:])
		if err != nil {
			return out
		}
		s, err := strconv.Unquote(q)
		if err != nil {
			return out
		}
		out = append(out, s)
		line = line[i+len(q):]
	}
}
