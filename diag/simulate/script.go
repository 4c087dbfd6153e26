package simulate

import (
	"fmt"
	"strings"
	"time"
)

// rule is one line of a script: what is said or done instead of the usual.
type rule struct {
	when   string // upper case; see fits
	until  time.Duration
	unless string // tls or login: not once there is that
	steps  []step
}

// step is a piece of text to send, or a deed.
type step struct {
	text string // lines with CRLF; of without: tls or login
	deed string
	d    time.Duration // wait, drip
}

// The deeds. data/simulations.toml says what each does.
const (
	deedUsual   = "usual"
	deedHalf    = "half"
	deedWait    = "wait"
	deedDrip    = "drip"
	deedStall   = "stall"
	deedClose   = "close"
	deedReset   = "reset"
	deedGarbage = "garbage"
	deedUntil   = "until"
	deedWithout = "without"
)

// parseScript reads the lines "WHEN => WHAT".
func parseScript(script string) ([]rule, error) {
	var out []rule
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		when, what, ok := strings.Cut(line, " => ")
		if !ok || strings.TrimSpace(when) == "" {
			return nil, fmt.Errorf("%q: want WHEN => WHAT", line)
		}
		r := rule{when: strings.ToUpper(strings.TrimSpace(when))}
		for i, s := range parseSteps(strings.ReplaceAll(strings.TrimSpace(what), `\n`, "\r\n")) {
			if s.deed == deedUntil || s.deed == deedWithout {
				if i > 0 {
					return nil, fmt.Errorf("%q: <%s> stands at the beginning", line, s.deed)
				}
				r.until, r.unless = s.d, s.text
				continue
			}
			r.steps = append(r.steps, s)
		}
		out = append(out, r)
	}
	return out, nil
}

// parseSteps takes the deeds out of a reply. What stands in angle brackets and
// is no deed is text: an address. Text that ends, or stands before a deed that
// ends the reply, is a whole line.
func parseSteps(what string) []step {
	var out []step
	text := ""
	flush := func() {
		if text != "" {
			if !strings.HasSuffix(text, "\r\n") {
				text += "\r\n"
			}
			out = append(out, step{text: text})
			text = ""
		}
	}
	for what != "" {
		i := strings.IndexByte(what, '<')
		if i < 0 {
			break
		}
		inside, rest, ok := strings.Cut(what[i+1:], ">")
		s, isDeed := parseDeed(inside)
		if !ok || !isDeed {
			text, what = text+what[:i+1], what[i+1:]
			continue
		}
		text += what[:i]
		flush()
		out, what = append(out, s), rest
	}
	text += what
	flush()
	return out
}

func parseDeed(s string) (step, bool) {
	name, arg, _ := strings.Cut(s, " ")
	switch name {
	case deedUsual, deedHalf, deedStall, deedClose, deedReset, deedGarbage:
		return step{deed: name}, arg == ""
	case deedWithout:
		return step{deed: name, text: arg}, arg == "tls" || arg == "login"
	case deedWait, deedDrip, deedUntil:
		d, err := time.ParseDuration(arg)
		return step{deed: name, d: d}, err == nil && d > 0
	}
	return step{}, false
}

// The events that are no commands: "*" does not mean them.
const (
	onGreeting = "GREETING"
	onLogin    = "LOGIN" // user and password are known
	onMessage  = "."     // the end of a message
)

// onEvent returns the rule that stands for an event now, or nil.
func (s *session) onEvent(event string) *rule {
	return s.first(func(r *rule) bool { return r.when == event })
}

// onCommand returns the first rule that stands for a command line now, or nil.
func (s *session) onCommand(line string) *rule {
	line = strings.ToUpper(line)
	return s.first(func(r *rule) bool { return r.fits(line) })
}

func (s *session) first(fits func(*rule) bool) *rule {
	for i := range s.srv.rules {
		r := &s.srv.rules[i]
		if fits(r) && (r.unless != "tls" || !s.encrypted()) && (r.unless != "login" || !s.loggedIn) {
			return r
		}
	}
	return nil
}

// fits compares with the beginning of a command, up to the end of a word:
// "RETR" is not "RETRY".
func (r rule) fits(line string) bool {
	if r.when == onGreeting || r.when == onLogin || r.when == onMessage {
		return false
	}
	rest, ok := matchPrefix(line, r.when)
	return ok && (rest == "" || rest[0] == ' ' || strings.HasSuffix(r.when, "*") || strings.HasSuffix(r.when, ">"))
}

// matchPrefix matches a pattern, in which "*" is anything, with the beginning
// of s and returns what is left.
func matchPrefix(s, pattern string) (rest string, ok bool) {
	parts := strings.Split(pattern, "*")
	s, ok = strings.CutPrefix(s, parts[0])
	for _, p := range parts[1:] {
		if !ok {
			return "", false
		}
		_, s, ok = strings.Cut(s, p)
	}
	return s, ok
}
