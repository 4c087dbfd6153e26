package codes

import (
	_ "embed" // the data files
	"iter"
	"strconv"
	"strings"
)

// The files are embedded one by one as strings: an embed.FS would copy each
// file on reading, which is most of what a look-up costs.
var (
	//go:embed data/outlook.toml
	outlookData string
	//go:embed data/mapi.toml
	mapiData string
	//go:embed data/winsock.toml
	winsockData string
	//go:embed data/errno.toml
	errnoData string
	//go:embed data/smtp.toml
	smtpData string
	//go:embed data/enhanced.toml
	enhancedData string
	//go:embed data/vendor.toml
	vendorData string
	//go:embed data/argosoft.toml
	argosoftData string
	//go:embed data/wiz98.toml
	wiz98Data string
	//go:embed data/mailsrv.toml
	mailsrvData string
	//go:embed data/text.toml
	textData string
	//go:embed data/topic.toml
	topicData string
	//go:embed data/settings.toml
	settingsData string
	//go:embed data/causes.toml
	causesData string
	//go:embed data/reasons.toml
	reasonsData string
	//go:embed data/concepts.txt
	conceptsData string
	//go:embed data/notices.toml
	noticesData string
	//go:embed data/sentences.txt
	sentencesData string
	//go:embed data/programs.toml
	programsData string
	//go:embed data/clients.txt
	clientsData string
	//go:embed data/dynamic-dns.txt
	dynamicDNSData string
	//go:embed data/findings-checkmx.toml
	findingsCheckMXData string
	//go:embed data/findings-doctor.toml
	findingsDoctorData string
	//go:embed data/findings-probe.toml
	findingsProbeData string
	//go:embed data/findings-explain.toml
	findingsExplainData string
)

// families are the data files with entries, in the order in which a number that
// several of them know is answered. What a family holds stands in the comment
// at the top of its file.
var families = []struct{ name, data string }{
	{"outlook", outlookData},
	{"mapi", mapiData},
	{"winsock", winsockData},
	{"errno", errnoData},
	{"smtp", smtpData},
	{"enhanced", enhancedData},
	{"vendor", vendorData},
	{"argosoft", argosoftData},
	{"wiz98", wiz98Data},
	{"text", mailsrvData},
	{"text", textData},
	{"topic", topicData},
	{"setting", settingsData},
}

// findingsData are the files with the texts of findings, one per judge.
var findingsData = []string{findingsCheckMXData, findingsDoctorData, findingsProbeData, findingsExplainData}

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
	for from := 0; ; {
		i := strings.Index(s[from:], header)
		if i < 0 {
			return -1
		}
		at, end := from+i, from+i+len(header)
		if (at == 0 || s[at-1] == '\n') && end < len(s) && s[end] == '\n' {
			return at
		}
		from = end
	}
}

// chunkKeys reads an entry's code, symbol and aliases off its leading lines.
// The format test holds that these three stand on one line each, in this order.
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
			return append(out, quoted(value)...) // the last of the three
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
		if end := strings.IndexByte(line[i+1:], '"'); end >= 0 && strings.IndexByte(line[i+1:i+1+end], '\\') < 0 {
			out = append(out, line[i+1:i+1+end]) // nothing to unescape
			line = line[i+end+2:]
			continue
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
