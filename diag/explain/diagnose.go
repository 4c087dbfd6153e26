package explain

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"mailsrv/codes"
	"mailsrv/diag"
)

// candidate is a cause that one piece of evidence speaks for.
type candidate struct {
	cause      string
	confidence float64
	evidence   []string
	entry      *codes.Entry // whose words and steps are more to the point than the cause's
	spoken     bool         // the entry's own phrase is what the confidence rests on
}

// candidates lists what all evidence together says, likeliest first, each cause
// once with all the evidence for it.
func (f *facts) candidates() []candidate {
	if !f.judged {
		f.judged, f.judgement = true, f.judge()
		for i := range f.judgement {
			f.judgement[i].evidence = slices.Clip(f.judgement[i].evidence) // others add to it
		}
	}
	return f.judgement
}

func (f *facts) judge() []candidate {
	var all []candidate
	for _, w := range f.words {
		all = append(all, f.wordCandidate(w))
	}
	for _, c := range f.codes {
		if x, ok := f.codeCandidate(c); ok {
			all = append(all, x)
		}
	}
	for _, r := range combinations {
		if x, ok := r.apply(f); ok {
			all = append(all, x)
		}
	}
	if f.cause != "" {
		all = append(all, candidate{cause: f.cause, confidence: sureNotice, evidence: []string{cut(oneLine(cmp.Or(f.reply, f.cause)), maxEvidenceBytes)}})
	}
	if cause := codes.CauseOfReason(f.reason); cause != "" {
		all = append(all, candidate{cause: cause, confidence: sureReason, evidence: []string{cut(oneLine(cmp.Or(f.reply, f.reason)), maxEvidenceBytes)}})
	}
	return rank(all)
}

// rank merges candidates of one cause and orders them.
func rank(all []candidate) []candidate {
	var out []candidate
	for _, x := range all {
		if x.cause == "none" || x.cause == "" {
			continue
		}
		i := slices.IndexFunc(out, func(o candidate) bool { return o.cause == x.cause })
		if i < 0 {
			out = append(out, x)
			continue
		}
		if x.confidence > out[i].confidence {
			x.evidence = union(x.evidence, out[i].evidence)
			if x.entry == nil {
				x.entry, x.spoken = out[i].entry, out[i].spoken && out[i].confidence > x.confidence-0.1
			}
			out[i] = x
		} else {
			out[i].evidence = union(out[i].evidence, x.evidence)
			if out[i].entry == nil {
				out[i].entry, out[i].spoken = x.entry, x.spoken && x.confidence > out[i].confidence-0.1
			}
		}
	}
	slices.SortStableFunc(out, func(a, b candidate) int { return cmp.Compare(b.confidence, a.confidence) })
	if len(out) > 0 {
		best := out[0].confidence
		out = slices.DeleteFunc(out, func(x candidate) bool {
			return x.confidence < best && (x.confidence < best*keepBeside || x.cause == "unknown")
		})
	}
	narrowFirst(out)
	return out[:min(len(out), maxDiagnoses)]
}

// narrower are causes that say more than the broad one beside them: "the login
// failed" is also what a server says to a wrong method or a locked account, and
// "relaying denied" what it says before "check your mail first".
var narrower = map[string][]string{
	"auth-failed": {"auth-method", "app-password", "account-blocked", "auth-required", "tls-required",
		"connect-refused", "connect-timeout", "dns-failure", "network-unreachable", "tls-cert"}, // who cannot connect cannot sign in
	"relay-denied":    {"pop-before-smtp"},
	"connect-timeout": {"tls-cert"},                                                                                         // "the connection failed": it is the certificate that "expired"
	"tls-version":     {"tls-cert"},                                                                                         // "the handshake failed" is said of a certificate as well
	"connect-refused": {"tls-cert", "tls-version", "tls-mismatch", "dns-failure", "connect-timeout", "network-unreachable"}, // and so is "could not connect"
	"profile-config":  {"local-storage"},                                                                                    // Outlook cannot start, because its file is damaged
}

// narrowFirst puts a narrower cause before its broad one when both rest on
// evidence of the same weight.
func narrowFirst(cs []candidate) {
	if len(cs) < 2 {
		return
	}
	for i, x := range cs[1:] {
		if slices.Contains(narrower[cs[0].cause], x.cause) && cs[0].confidence-x.confidence < 0.1 {
			x.confidence = cs[0].confidence
			copy(cs[1:i+2], cs[:i+1])
			cs[0] = x
			return
		}
	}
}

// union adds evidence that is not a piece of evidence already there.
func union(a, b []string) []string {
	for _, x := range b {
		if !slices.ContainsFunc(a, func(y string) bool { return strings.Contains(y, x) }) {
			a = append(a, x)
		}
	}
	return a
}

func (r combination) apply(f *facts) (candidate, bool) {
	x := candidate{cause: r.cause, confidence: r.confidence}
	for _, need := range r.needs {
		e, ok := need(f)
		if !ok {
			return candidate{}, false
		}
		if e != "" {
			x.evidence = union(x.evidence, []string{e})
		}
	}
	return x, true
}

// broad are causes that servers name in passing: words for something narrower
// in the same reply count more.
var broad = map[string]bool{"policy": true, "server-temporary": true, "syntax-error": true, "unknown": true, "user-unknown": false}

func (f *facts) wordCandidate(w word) candidate {
	x := candidate{cause: w.cause, entry: w.entry, evidence: []string{f.quoteWord(w)}}
	client := w.entry == nil || strings.HasPrefix(w.entry.Code, "client/")
	switch {
	case w.beside && w.server:
		x.confidence = sureServerHint
	case w.beside:
		x.confidence = sureHint
	case w.weak && w.cause == "unknown":
		x.confidence = sureNothing
	case w.weak && w.server:
		x.confidence = sureReplyVague
	case w.weak:
		x.confidence = sureNothing + 0.1
	case w.server && broad[w.cause]:
		x.confidence = sureServerVague
	case w.server && w.entry != nil:
		x.confidence = sureServerEntry
	case w.server:
		x.confidence = sureServerWords
	case client:
		x.confidence = sureSentence
	default:
		x.confidence = sureSentence + 0.06
	}
	// Several words in one reply: the catalogue's order counts, then what is
	// named first.
	x.confidence -= min(float64(w.order), 4)*0.01 + min(float64(w.at), 300)/300*0.008
	if x.entry != nil && x.entry.Cause != x.cause {
		x.entry = nil
	}
	x.spoken = x.entry != nil && !w.weak
	return x
}

// vagueStatus tells enhanced codes that stand for whatever the server had no
// number for.
func vagueStatus(canon string) bool {
	if strings.HasSuffix(canon, ".0") {
		return true
	}
	return canon == "5.7.1" || canon == "4.7.1" || canon == "5.5.1" || canon == "5.5.4" || canon == "5.5.2" || canon == "4.5.1"
}

// aboutLogin tells the statuses that speak of a login (RFC 5248). Some providers
// also use their numbers for refused mail.
func aboutLogin(canon string) bool {
	switch canon {
	case "5.7.3", "5.7.8", "5.7.9", "5.7.13", "5.7.14", "4.7.8", "4.7.9":
		return true
	}
	return false
}

// refusesMail tells whether the reply code is one for mail, not for a login.
func (f *facts) refusesMail() bool {
	for _, c := range f.codes {
		if c.kind == kindReply && strings.HasPrefix(c.canon, "55") {
			return true
		}
	}
	return false
}

// vagueReply tells reply codes that servers use for anything.
func vagueReply(canon string) bool {
	switch canon {
	case "421", "432", "454", "521", "523", "524", "525", "530", "534", "535", "538", "552", "556":
		return false
	}
	return true
}

// vagueClient are codes of mail programs that only say that the server, or
// something, answered with an error.
var vagueClient = map[string]bool{
	"0x800CCC60": true, "0x800CCC61": true, "0x800CCC90": true, "0x800CCC18": true, "0x80004005": true, "0x800CCC0E": true,
	"0x800CCC69": true, "0x800CCC6A": true, "0x800CCC6E": true, "0x800CCC6F": true, "0x800CCCD2": true, "0x800CCC79": true,
	"0x800420CD": true, "0x8004102A": true, "0x80040119": true,
}

// passing are numbers of calls that are merely not done yet (EAGAIN,
// EINPROGRESS, EALREADY): beside other words they are no cause.
var passing = map[int]bool{10035: true, 10036: true, 10037: true}

func (f *facts) codeCandidate(c code) (candidate, bool) {
	x := candidate{evidence: []string{f.quoteCode(c)}}
	x.entry, x.cause = c.meaning()
	if x.cause == "" {
		return x, false
	}
	switch c.kind {
	case kindEnhanced:
		x.confidence = sureStatus
		if vagueStatus(c.canon) || aboutLogin(c.canon) && f.refusesMail() {
			x.confidence = sureStatusVague
		}
	case kindReply:
		x.confidence = sureReply
		if vagueReply(c.canon) {
			x.confidence = sureReplyVague
		}
	case kindSocket, kindErrno:
		x.confidence = sureSocket
		if f.kind != KindCode && passing[c.winsock()] {
			return x, false
		}
	case kindSymbol:
		x.confidence = sureSocket
	default:
		x.confidence = sureClientCode
		if c.winsock() != 0 {
			x.confidence = sureSocket
		}
		if vagueClient[c.canon] {
			x.confidence = sureClientVague
			if c.canon == f.ctx.ErrorNumber {
				x.confidence += 0.05 // the program's own verdict, before what it passes on
			}
		}
	}
	return x, true
}

// diagnoses puts the candidates into words.
func (f *facts) diagnoses(cs []candidate, lang codes.Lang) []Diagnosis {
	var out []Diagnosis
	for _, c := range cs {
		d := Diagnosis{Cause: c.cause, Confidence: roundTo(c.confidence), Evidence: c.evidence[:min(len(c.evidence), maxEvidence)], Title: c.cause}
		var steps []string
		if cause := codes.CauseOf(c.cause); cause != nil {
			t := cause.Text(lang)
			d.Who, d.Temporary, d.Title, d.Why, steps = cause.Who, cause.Temporary, t.Title, t.Why, t.Fixes
		}
		if e := c.entry; e != nil {
			d.Who, d.Temporary, steps = e.Who, e.Temporary, e.Text(lang).Fixes
			if e.Family == "text" && c.spoken { // it describes this very message
				d.Title, d.Why = e.Text(lang).Title, e.Text(lang).Meaning
			}
		}
		if c.confidence < doubtful && c.cause != "unknown" {
			d.Title = lang.Pick("Possibly: ", "可能性: ") + d.Title
			d.Why = lang.Pick("If that is it: ", "そうだとすると、") + d.Why
		}
		if t, ok := f.stated(); ok {
			d.Temporary = t
		}
		if d.Who == codes.YourProvider && f.ownWords() {
			d.Who = codes.YourServer // who reads a server's log runs the server
		}
		if way := f.wayTo(c.cause, lang); way != "" {
			d.Fixes = append(d.Fixes, diag.Fix{Text: way})
		}
		for _, s := range steps {
			d.Fixes = append(d.Fixes, diag.Fix{Text: s})
		}
		d.Verify = f.verify(c.cause)
		out = append(out, d)
	}
	return out
}

// wayTo is where in the mail program of a dialog the setting stands that a cause
// is mended in. The classic form of a dialog, with its account, server and error
// number in one sentence, is Outlook Express's when nothing names the program.
func (f *facts) wayTo(cause string, lang codes.Lang) string {
	if f.kind != KindDialog {
		return ""
	}
	if f.program == nil {
		folded := codes.Fold(cut(f.text, maxDialog))
		if f.program = codes.ProgramOf(folded); f.program == nil && f.ctx.Account != "" && strings.HasPrefix(f.ctx.ErrorNumber, "0x800CCC") && len(f.quoted) > 4 {
			f.program = codes.ProgramOf("outlook express")
		}
		if f.program == nil {
			f.program = &codes.Program{}
		}
	}
	return f.program.Way(cause, lang)
}

// ownWords tells a log line in which the server speaks of itself, and no other
// server is quoted.
func (f *facts) ownWords() bool {
	return f.event != nil && f.event.program != "" && f.event.relay == ""
}

// stated tells whether the server said that trying again can help: by the first
// digit of its reply or status.
func (f *facts) stated() (temporary, ok bool) {
	for _, c := range f.codes {
		if (c.kind == kindReply || c.kind == kindEnhanced) && c.negative {
			temporary, ok = c.canon[0] == '4', true
			if !temporary {
				return false, true
			}
		}
	}
	return temporary, ok
}

// asWritten returns the part of text that reads like words once it is folded:
// evidence is quoted as it stood. words come back when no part does.
func asWritten(text, words string) string {
	at := strings.Index(codes.Fold(text), words)
	if at < 0 {
		return words
	}
	// Folding a longer beginning gives a longer result, so both ends can be
	// searched for by halving.
	reach := func(n int) int {
		return sort.Search(len(text), func(i int) bool {
			for i < len(text) && !utf8.RuneStart(text[i]) {
				i++
			}
			return len(codes.Fold(text[:i])) >= n
		})
	}
	// The first character is the last one of the beginning that just holds it: a
	// blank before it counts only once something follows.
	from, to := reach(at+1), reach(at+len(words))
	for from < len(text) && !utf8.RuneStart(text[from]) {
		from++
	}
	_, size := utf8.DecodeLastRuneInString(text[:from])
	from -= size
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	return text[from:to]
}

func roundTo(x float64) float64 { return float64(int(x*100+0.5)) / 100 }

// quote returns the field of that name as it stands in the text, or other words
// for it.
func (f *facts) quote(name, otherwise string) string {
	for _, q := range f.quoted {
		if q.name == name {
			return cut(q.evidence(), maxEvidenceBytes)
		}
	}
	return otherwise
}

// quoteCode returns a code with the label it stands behind.
func (f *facts) quoteCode(c code) string {
	for _, q := range f.quoted {
		if (q.name == "error_number" || q.name == "server_error" || q.name == "socket_error") && firstCode(q.value) == c.canon {
			return cut(q.evidence(), maxEvidenceBytes)
		}
	}
	return oneLine(c.raw)
}

// quoteWord returns the server's reply, or the words themselves.
func (f *facts) quoteWord(w word) string {
	if w.server {
		for part := range strings.SplitSeq(f.reply, "\n\n") {
			if strings.Contains(codes.Fold(part), w.words) {
				return cut(oneLine(part), maxEvidenceBytes)
			}
		}
	}
	return cut(oneLine(asWritten(cut(f.text, maxDialog), w.words)), maxEvidenceBytes)
}
