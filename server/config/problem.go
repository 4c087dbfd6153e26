package config

import (
	"fmt"
	"strings"
)

// Kind says what sort of mistake a Problem is. With "config." before it, it is
// the id of doctor's finding.
type Kind string

// The kinds of problem.
const (
	Syntax          Kind = "syntax"      // not TOML
	UnknownKey      Kind = "unknown_key" // no such key or table, or one of a later version
	BadValue        Kind = "bad_value"   // wrong type, unit or range
	BadAddress      Kind = "bad_address" // listen address, network or resolver that does not parse
	NotFound        Kind = "not_found"   // the named file does not exist
	Unreadable      Kind = "unreadable"  // it exists, but cannot be read
	NoHostname      Kind = "no_hostname" // empty while a listener is open to others
	NoDomain        Kind = "no_domain"
	NoListener      Kind = "no_listener"
	PortZero        Kind = "port_zero"
	ListenDuplicate Kind = "listen_duplicate"
)

// Problem is one mistake in a configuration file. Line and Column count from 1
// and are 0 where the mistake is something that is missing.
type Problem struct {
	Kind       Kind   `json:"kind"`
	File       string `json:"file"`
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	Key        string `json:"key,omitempty"`        // dotted: "limits.message_size"
	Value      string `json:"value,omitempty"`      // as written
	Message    string `json:"message"`              // what is wrong and what is accepted
	Suggestion string `json:"suggestion,omitempty"` // what was probably meant, ready to paste
	Later      bool   `json:"later,omitempty"`      // a setting that this version does not act on yet
}

func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Column > 0 {
		fmt.Fprintf(&b, ":%d", p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key)
		if p.Value != "" {
			b.WriteString(" = " + p.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Suggestion != "" {
		b.WriteString("; did you mean: " + p.Suggestion)
	}
	return b.String()
}

// Problems are all mistakes of one file, in the order of its lines; what is
// missing comes last.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err is ps as an error, nil when there is none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
