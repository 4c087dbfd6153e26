package record

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// IsMTASTS tells an MTA-STS record from other texts, RFC 8461 section 3.1.
func IsMTASTS(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	return strings.TrimRight(first, " \t") == "v=STSv1"
}

// LooksLikeMTASTS tells that a text was meant as one, but is none.
func LooksLikeMTASTS(text string) bool {
	t := strings.ToLower(strings.NewReplacer(" ", "", "\"", "").Replace(text))
	return !IsMTASTS(text) && (strings.Contains(t, "stsv1") || strings.HasPrefix(t, "v=sts"))
}

var stsID = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)

// ParseMTASTS reads the TXT record and returns the id of the policy.
func ParseMTASTS(text string) (id string, err error) {
	if !IsMTASTS(text) {
		return "", &SyntaxError{text, BadVersion}
	}
	tags, err := parseTags(text)
	if err != nil {
		return "", err
	}
	id, ok := tag(tags, "id")
	switch {
	case !ok:
		return "", &SyntaxError{"id", Missing}
	case !stsID.MatchString(id):
		return "", &SyntaxError{"id=" + id, BadCharacter}
	}
	return id, nil
}

// MTASTSFor is the TXT record for a policy that changed at the given time.
func MTASTSFor(changed time.Time) string {
	return "v=STSv1; id=" + changed.UTC().Format("20060102150405")
}

// Policy is a parsed MTA-STS policy file, RFC 8461 section 3.2.
type Policy struct {
	Mode   string // enforce, testing, none
	MX     []string
	MaxAge time.Duration
}

const maxPolicyAge = 31557600 // seconds, RFC 8461 section 3.2

// ParsePolicy reads a policy file. The error is a *SyntaxError.
func ParsePolicy(text string) (*Policy, error) {
	p := &Policy{MaxAge: -1}
	version := ""
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n\t ")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		value = strings.Trim(value, " \t")
		if !ok || name == "" {
			return nil, &SyntaxError{short(line), BadTag}
		}
		if name != "mx" && seen[name] {
			continue // all but the first are ignored
		}
		seen[name] = true
		switch name {
		case "version":
			version = value
		case "mode":
			if !slices.Contains([]string{"enforce", "testing", "none"}, value) {
				return nil, &SyntaxError{line, BadValue}
			}
			p.Mode = value
		case "max_age":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 || n > maxPolicyAge {
				return nil, &SyntaxError{line, BadValue}
			}
			p.MaxAge = time.Duration(n) * time.Second
		case "mx":
			host := strings.ToLower(strings.TrimSuffix(value, "."))
			if !plausible(strings.TrimPrefix(host, "*.")) || !topLabel(host[strings.LastIndexByte(host, '.')+1:]) || strings.ContainsAny(strings.TrimPrefix(host, "*."), "* \t:/@") {
				return nil, &SyntaxError{line, BadDomain}
			}
			p.MX = append(p.MX, host)
		}
	}
	switch {
	case version == "":
		return nil, &SyntaxError{"version", Missing}
	case version != "STSv1":
		return nil, &SyntaxError{"version: " + short(version), BadVersion}
	case p.Mode == "":
		return nil, &SyntaxError{"mode", Missing}
	case p.MaxAge < 0:
		return nil, &SyntaxError{"max_age", Missing}
	case len(p.MX) == 0 && p.Mode != "none":
		return nil, &SyntaxError{"mx", Missing}
	}
	return p, nil
}

// Covers tells whether a mail host is one of the policy's, RFC 8461 section 4.1:
// a wildcard stands for exactly one label.
func (p *Policy) Covers(host string) bool {
	return slices.ContainsFunc(p.MX, func(pattern string) bool {
		if rest, ok := strings.CutPrefix(pattern, "*."); ok {
			_, parent, _ := strings.Cut(host, ".")
			return parent == rest
		}
		return pattern == host
	})
}

// PolicyFor is the policy file that fits the given mail hosts.
func PolicyFor(mode string, hosts []string) string {
	var b strings.Builder
	b.WriteString("version: STSv1\nmode: " + mode + "\n")
	for _, h := range hosts {
		b.WriteString("mx: " + h + "\n")
	}
	b.WriteString("max_age: 604800\n")
	return b.String()
}
