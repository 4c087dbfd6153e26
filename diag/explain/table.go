package explain

import (
	_ "embed" // the data file
	"strings"
)

// The labels may be corrected without touching code: see the comment at the top
// of the file.
//
//go:embed data/labels.txt
var labelsFile string

// section is one "[name words...]" part of a data file, with its lines.
type section struct {
	name  string
	args  []string
	lines []string
}

// sections reads a data file: "[name arg...]" headers, one item a line, "#"
// begins a comment line.
func sections(file string) []section {
	var out []section
	for line := range strings.Lines(file) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && strings.HasSuffix(line, "]") && isAlpha(line[1]):
			words := strings.Fields(line[1 : len(line)-1])
			out = append(out, section{name: words[0], args: words[1:]})
		case len(out) > 0:
			s := &out[len(out)-1]
			s.lines = append(s.lines, line)
		}
	}
	return out
}
