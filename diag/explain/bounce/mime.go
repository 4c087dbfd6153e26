package bounce

import (
	"bytes"
	"strings"
)

// message is one mail being read.
type message struct {
	header    header
	body      []byte
	parts     []part
	multipart bool
}

type partKind int

const (
	textPart     partKind = iota
	htmlPart              // text/html
	reportPart            // message/delivery-status, RFC 3464 and 6533
	feedbackPart          // message/feedback-report, RFC 5965
	receiptPart           // message/disposition-notification, RFC 8098
	originalPart          // the returned message or its header
	otherPart
)

// part is a leaf of the MIME tree. Its body is not decoded yet.
type part struct {
	kind     partKind
	header   header
	mediaTyp string
	charset  string
	encoding string
	body     []byte
}

const (
	maxDepth = 250  // nested multiparts that are followed
	maxParts = 2000 // leaves that are kept
)

func newMessage(raw []byte) *message {
	m := &message{}
	m.header, m.body = parseHeader(raw)
	return m
}

// readParts cuts the body into its leaves in one pass over its delimiter
// lines. Delimiters of all open multiparts are known at each line, so that a
// missing closing delimiter of an inner one does not swallow the outer.
func (m *message) readParts() {
	mediaType, boundary := multipartOf(m.header)
	if !strings.HasPrefix(mediaType, "multipart/") {
		m.parts = []part{newPart(m.header, m.body)}
		return
	}
	m.multipart = true
	if boundary == "" || !bytes.Contains(m.body, []byte("--"+boundary)) {
		boundary = guessBoundary(m.body)
	}
	if boundary != "" {
		w := walker{body: m.body, open: []level{{boundary: boundary}}}
		w.walk()
		m.parts = w.parts
	}
	if len(m.parts) == 0 { // no delimiter anywhere: what is there is the text
		m.parts = []part{{kind: textPart, mediaTyp: "text/plain", body: m.body}}
	}
}

type level struct {
	boundary string
	parts    int // leaves found before it opened
}

type walker struct {
	body   []byte
	open   []level
	parts  []part
	header header // of the leaf that began at start
	start  int
	inLeaf bool
}

func (w *walker) walk() {
	for at := 0; at < len(w.body) && len(w.open) > 0 && len(w.parts) < maxParts; {
		if !bytes.HasPrefix(w.body[at:], []byte("--")) {
			i := bytes.Index(w.body[at:], []byte("\n--"))
			if i < 0 {
				break
			}
			at += i + 1
		}
		line, _ := cutLine(w.body[at:])
		next := min(at+len(line)+1, len(w.body))
		k, closing := w.delimiter(bytes.TrimRight(line[2:], " \t"))
		if k < 0 {
			at = next
			continue
		}
		w.end(at)
		w.open = w.open[:k+1]
		if closing {
			w.open = w.open[:k]
			w.start = next
			at = next
			continue
		}
		at = w.begin(next)
	}
	w.end(len(w.body))
}

// delimiter returns which open multipart a line after its "--" belongs to.
func (w *walker) delimiter(line []byte) (k int, closing bool) {
	for k = len(w.open) - 1; k >= 0; k-- {
		rest, ok := bytes.CutPrefix(line, []byte(w.open[k].boundary))
		if ok && len(rest) == 0 {
			return k, false
		}
		if ok && string(rest) == "--" {
			return k, true
		}
	}
	return -1, false
}

// begin reads the header of the part at i and returns where its body begins.
func (w *walker) begin(i int) int {
	var body []byte
	w.header, body = parseHeader(w.body[i:])
	w.start = len(w.body) - len(body)
	mediaType, boundary := multipartOf(w.header)
	if strings.HasPrefix(mediaType, "multipart/") && boundary != "" && len(w.open) < maxDepth {
		w.open = append(w.open, level{boundary, len(w.parts)})
		w.inLeaf = false
		return w.start
	}
	w.inLeaf = true
	return w.start
}

// end closes the leaf that runs up to i. The text before the first delimiter of
// an inner multipart counts as its content when it never had a part.
func (w *walker) end(i int) {
	body := w.body[min(w.start, i):i]
	switch {
	case w.inLeaf:
		w.parts = append(w.parts, newPart(w.header, body))
	case len(w.open) > 1 && w.open[len(w.open)-1].parts == len(w.parts) && len(bytes.TrimSpace(body)) > 0:
		if i < len(w.body) && w.startsPart(i) {
			break
		}
		w.parts = append(w.parts, part{kind: textPart, mediaTyp: "text/plain", body: body})
	}
	w.inLeaf = false
}

// startsPart tells whether the delimiter line at i opens a part of the
// innermost multipart: then the text before it is a preamble.
func (w *walker) startsPart(i int) bool {
	line, _ := cutLine(w.body[i:])
	k, closing := w.delimiter(bytes.TrimRight(line[2:], " \t"))
	return k == len(w.open)-1 && !closing
}

// guessBoundary finds the delimiter of a multipart whose header names none or
// another one: a "--" line with a Content- field below it.
func guessBoundary(body []byte) string {
	for at := 0; at < len(body); {
		if !bytes.HasPrefix(body[at:], []byte("--")) {
			i := bytes.Index(body[at:], []byte("\n--"))
			if i < 0 {
				return ""
			}
			at += i + 1
		}
		line, rest := cutLine(body[at:])
		if len(rest) > 8 && bytes.EqualFold(rest[:8], []byte("content-")) && len(line) > 2 {
			return string(bytes.TrimRight(line[2:], " \t"))
		}
		at += len(line) + 1
	}
	return ""
}

func multipartOf(h header) (mediaType, boundary string) {
	v := h.get("Content-Type")
	mediaType = mediaTypeOf(v)
	if strings.HasPrefix(mediaType, "multipart/") {
		boundary = param(v, "boundary")
	}
	return mediaType, boundary
}

func mediaTypeOf(v string) string {
	if i := strings.IndexAny(v, "; \t"); i >= 0 {
		v = v[:i]
	}
	return strings.ToLower(v)
}

// param returns a parameter of a Content-Type or Content-Disposition value,
// quoted or not, closed or not.
func param(v, name string) string {
	for i := 0; i+len(name) < len(v); i++ {
		if v[i]|0x20 != name[0] || !strings.EqualFold(v[i:i+len(name)], name) || i > 0 && localByte(v[i-1]) {
			continue
		}
		rest := strings.TrimLeft(v[i+len(name):], " \t")
		if rest == "" || rest[0] != '=' {
			continue
		}
		rest = strings.TrimLeft(rest[1:], " \t")
		if strings.HasPrefix(rest, `"`) {
			s, _, _ := strings.Cut(rest[1:], `"`)
			return s
		}
		if j := strings.IndexAny(rest, "; \t"); j >= 0 {
			rest = rest[:j]
		}
		return rest
	}
	return ""
}

func newPart(h header, body []byte) part {
	v := h.get("Content-Type")
	p := part{header: h, body: body, mediaTyp: mediaTypeOf(v), charset: strings.ToLower(param(v, "charset")), encoding: strings.ToLower(h.get("Content-Transfer-Encoding"))}
	attached := len(h.get("Content-Disposition")) >= 10 && strings.EqualFold(h.get("Content-Disposition")[:10], "attachment")
	switch t := p.mediaTyp; {
	case t == "message/delivery-status" || t == "message/global-delivery-status":
		p.kind = reportPart
	case t == "message/feedback-report":
		p.kind = feedbackPart
	case t == "message/disposition-notification" || t == "message/global-disposition-notification":
		p.kind = receiptPart
	case strings.HasPrefix(t, "message/") || t == "text/rfc822-headers" || t == "text/rfc822":
		p.kind = originalPart
	case attached:
		p.kind = otherPart
	case t == "text/html":
		p.kind = htmlPart
	case t == "" || strings.HasPrefix(t, "text"):
		p.kind = textPart
	default:
		p.kind = otherPart
	}
	return p
}

// content is the body with its transfer encoding undone.
func (p *part) content() []byte {
	return decodeTransfer(p.body, p.encoding)
}

// text is the body as UTF-8.
func (p *part) text() string {
	return toUTF8(p.content(), p.charset)
}

// has tells whether a part of that kind is there.
func (m *message) has(k partKind) bool {
	for i := range m.parts {
		if m.parts[i].kind == k {
			return true
		}
	}
	return false
}
