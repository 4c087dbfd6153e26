package record

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DMARC is a parsed DMARC record, RFC 9989.
type DMARC struct {
	Tags    []Tag
	P       string // none, quarantine, reject; "none" when the tag is missing
	SP      string // for subdomains; empty: like P
	HasP    bool
	Pct     int      // 100 when not given; no longer part of the standard
	PSD     string   // y, n, u
	Rua     []string // URIs as written, without blanks
	Ruf     []string
	Ignored []string // parts whose value is not allowed: receivers fall back to the default
}

// IsDMARC tells a DMARC record from other texts.
func IsDMARC(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && strings.EqualFold(strings.Trim(name, " \t"), "v") && strings.Trim(value, " \t") == "DMARC1"
}

// LooksLikeDMARC tells that a text was meant as a DMARC record, but is none.
func LooksLikeDMARC(text string) bool {
	if IsDMARC(text) {
		return false
	}
	t := strings.ToLower(strings.NewReplacer(" ", "", "\t", "", "\"", "", "“", "", "”", "").Replace(text))
	return strings.Contains(t, "dmarc1") || strings.HasPrefix(t, "v=dmarc") || strings.HasPrefix(t, "p=none") || strings.HasPrefix(t, "p=quarantine") || strings.HasPrefix(t, "p=reject")
}

var policies = []string{"none", "quarantine", "reject"}

// ParseDMARC reads a record. The error is a *SyntaxError; where possible the
// rest of the record comes with it.
func ParseDMARC(text string) (*DMARC, error) {
	if !IsDMARC(text) {
		return nil, &SyntaxError{text, BadVersion}
	}
	d := &DMARC{P: "none", Pct: 100}
	tags, err := parseTags(text)
	d.Tags = tags
	if err != nil {
		return d, err
	}
	for _, t := range tags[1:] {
		v := strings.ToLower(t.Value)
		ok := true
		switch t.Name {
		case "p", "sp", "np":
			if !slices.Contains(policies, v) {
				return d, &SyntaxError{t.Name + "=" + t.Value, BadValue}
			}
			if t.Name == "p" {
				d.P, d.HasP = v, true
			} else if t.Name == "sp" {
				d.SP = v
			}
		case "pct":
			n, err := strconv.Atoi(v)
			if ok = err == nil && n >= 0 && n <= 100; ok {
				d.Pct = n
			}
		case "adkim", "aspf":
			ok = v == "r" || v == "s"
		case "psd":
			if ok = v == "y" || v == "n" || v == "u"; ok {
				d.PSD = v
			}
		case "t":
			ok = v == "y" || v == "n"
		case "fo":
			for o := range strings.SplitSeq(v, ":") {
				ok = ok && slices.Contains([]string{"0", "1", "d", "s"}, strings.TrimSpace(o))
			}
		case "rua":
			d.Rua = uris(t.Value)
		case "ruf":
			d.Ruf = uris(t.Value)
		}
		if !ok {
			d.Ignored = append(d.Ignored, t.Name+"="+t.Value)
		}
	}
	return d, nil
}

func uris(list string) []string {
	var out []string
	for u := range strings.SplitSeq(list, ",") {
		out = append(out, strings.TrimSpace(u))
	}
	return out
}

// String writes the record as it stands.
func (d *DMARC) String() string { return tagList(d.Tags) }

func tagList(tags []Tag) string {
	var parts []string
	for _, t := range tags {
		parts = append(parts, t.Name+"="+t.Value)
	}
	return strings.Join(parts, "; ")
}

// With is the record with a tag set, or with an empty value without it.
func (d *DMARC) With(name, value string) *DMARC {
	out := *d
	out.Tags = slices.Clone(d.Tags)
	i := slices.IndexFunc(out.Tags, func(t Tag) bool { return t.Name == name })
	switch {
	case value == "" && i >= 0:
		out.Tags = slices.Delete(out.Tags, i, i+1)
	case value == "":
	case i >= 0:
		out.Tags[i].Value = value
	case name == "p": // older readers want it right after v
		out.Tags = slices.Insert(out.Tags, min(1, len(out.Tags)), Tag{name, value})
	default:
		out.Tags = append(out.Tags, Tag{name, value})
	}
	return &out
}

// DMARCFor is the record to begin with: reports first, then enforcement.
func DMARCFor(policy, reports string) string {
	return "v=DMARC1; p=" + policy + "; rua=mailto:" + reports
}

// MailtoDomain is the domain of a mailto: URI, without the size limit that
// older records append; ok is false for any other URI.
func MailtoDomain(uri string) (domain string, ok bool) {
	if i := strings.LastIndexByte(uri, '!'); i >= 0 {
		uri = uri[:i]
	}
	u, err := url.Parse(uri)
	if err != nil || !strings.EqualFold(u.Scheme, "mailto") || u.Opaque == "" {
		return "", false
	}
	addr, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return "", false
	}
	at := strings.LastIndexByte(addr, '@')
	if at <= 0 || at == len(addr)-1 || addr[0] != '"' && strings.ContainsAny(addr[:at], " \t@:;<>,") {
		return "", false // a local part with these must be quoted
	}
	domain = strings.ToLower(strings.TrimSuffix(addr[at+1:], "."))
	if strings.ContainsAny(domain, " \t@/<>,") || !plausible(domain) {
		return "", false
	}
	return domain, true
}

var commaTag = regexp.MustCompile(`,\s*([a-z]+=)`)

// RepairDMARC guesses what was meant by a record that does not parse; empty
// when the guess would not parse either.
func RepairDMARC(text string) string {
	t := strings.NewReplacer("“", "", "”", "", "\"", "", "'", "").Replace(text)
	t = commaTag.ReplaceAllString(t, "; $1")
	out := []Tag{{"v", "DMARC1"}}
	for part := range strings.FieldsFuncSeq(t, func(r rune) bool { return r == ';' || r == ' ' || r == '\t' }) {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			name, value, ok = strings.Cut(part, ":")
		}
		name = strings.ToLower(name)
		if !ok || value == "" || name == "v" {
			continue
		}
		if slices.Contains([]string{"p", "sp", "np"}, name) {
			value = nearestPolicy(value)
		}
		if _, had := tag(out, name); had {
			continue
		}
		out = append(out, Tag{name, value})
	}
	s := (&DMARC{Tags: out}).String()
	if d, err := ParseDMARC(s); err == nil && d.HasP {
		return s
	}
	return ""
}

func nearestPolicy(v string) string {
	v = strings.ToLower(v)
	switch {
	case strings.HasPrefix(v, "q"):
		return "quarantine"
	case strings.HasPrefix(v, "r"):
		return "reject"
	case strings.HasPrefix(v, "n"), v == "monitor":
		return "none"
	}
	return v
}
