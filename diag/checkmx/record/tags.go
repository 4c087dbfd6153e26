package record

import "strings"

// Tag is one "name=value" of a tag list, RFC 6376 section 3.2. Name is lower
// case, both are without surrounding blanks.
type Tag struct{ Name, Value string }

// parseTags reads "a=1; b=2". An empty part is allowed only at the end.
func parseTags(text string) ([]Tag, error) {
	for i := range len(text) {
		if c := text[i]; c != '\t' && (c < ' ' || c > '~') {
			return nil, &SyntaxError{text, BadBytes}
		}
	}
	var out []Tag
	seen := map[string]bool{}
	parts := strings.Split(text, ";")
	for i, part := range parts {
		part = strings.Trim(part, " \t")
		if part == "" && i == len(parts)-1 {
			break
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.Trim(name, " \t"))
		if !ok || name == "" || strings.IndexFunc(name, notTagChar) >= 0 {
			return out, &SyntaxError{part, BadTag}
		}
		if seen[name] {
			return out, &SyntaxError{part, Repeated}
		}
		seen[name] = true
		out = append(out, Tag{name, strings.Trim(value, " \t")})
	}
	return out, nil
}

func notTagChar(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
}

func tag(tags []Tag, name string) (string, bool) {
	for _, t := range tags {
		if t.Name == name {
			return t.Value, true
		}
	}
	return "", false
}
