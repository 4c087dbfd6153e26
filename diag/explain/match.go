package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mailsrv/codes"
)

// familiesOf says where each kind of code is looked up.
var familiesOf = map[codeKind][]string{
	kindHResult:  {"outlook", "mapi", "winsock", "text"},
	kindSocket:   {"winsock", "text"},
	kindErrno:    {"winsock", "errno"},
	kindReply:    {"smtp"},
	kindEnhanced: {"enhanced", "vendor"},
}

// entries returns what the catalogue knows of a code. An unknown reply or status
// is answered by its class: 559 by "5xx", 5.7.999 by "x.7.x".
func (c code) entries() []*codes.Entry {
	keys := []string{c.canon}
	switch c.kind {
	case kindErrno:
		keys = []string{c.symbol}
	case kindReply:
		keys = append(keys, c.canon[:1]+"xx")
	case kindEnhanced:
		if c.canon[0] != '2' { // whatever the subject, class 2 is success
			keys = append(keys, "x"+c.canon[1:3]+".x")
		}
		keys = append(keys, c.canon[:1]+".x.x")
	case kindHResult:
		if n, ok := win32Of(c.canon); ok { // what Windows wraps
			keys = append(keys, strconv.Itoa(n))
		}
	}
	for _, k := range keys {
		var found []*codes.Entry
		for _, e := range codes.Lookup(k) {
			if in := familiesOf[c.kind]; in == nil || slices.Contains(in, e.Family) {
				found = append(found, e)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// meaning is the entry and the cause that a code comes down to.
func (c code) meaning() (*codes.Entry, string) {
	if es := c.entries(); len(es) > 0 {
		return es[0], es[0].Cause
	}
	return nil, ""
}

// winsock is the Winsock number that a code is or stands for, or 0.
func (c code) winsock() int {
	switch c.kind {
	case kindSocket, kindErrno, kindSymbol, kindHResult:
		if n, err := strconv.Atoi(c.canon); err == nil && socketRange(n) {
			return n
		}
		for _, e := range c.entries() {
			if n, err := strconv.Atoi(e.Code); err == nil && e.Family == "winsock" && socketRange(n) {
				return n
			}
		}
	}
	return 0
}

// matches lists what the text holds: the server's words first, then the codes
// in their order (a status before the reply code it makes precise), then the
// mail program's words.
func (f *facts) matches(lang codes.Lang) []Match {
	var out []Match
	seen := map[string]bool{}
	add := func(m Match) {
		if !seen[m.Code] && !(m.Family == "text" && seen[m.ID]) {
			seen[m.Code], seen[m.ID] = true, true
			out = append(out, m)
		}
	}
	replied := f.replied()
	for _, w := range f.words {
		if w.entry != nil && w.server && replied {
			add(entryMatch(w.entry, w.entry.Code, lang))
		}
	}
	cs := slices.Clone(f.codes)
	slices.SortStableFunc(cs, func(a, b code) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(cs); i++ {
		if cs[i].kind == kindEnhanced && cs[i-1].kind == kindReply && cs[i].at-cs[i-1].at < 8 && cs[i].at >= 0 {
			cs[i], cs[i-1] = cs[i-1], cs[i]
		}
	}
	for _, c := range cs {
		for _, m := range c.matches(lang) {
			add(m)
		}
	}
	for _, w := range f.words {
		if w.entry != nil {
			add(entryMatch(w.entry, w.entry.Code, lang))
		}
	}
	return out
}

// fittingFirst moves the matches that speak of the first cause to the front:
// they say most about what happened. Derived codes stay behind their origin.
func fittingFirst(ms []Match, ds []Diagnosis) {
	if len(ds) == 0 {
		return
	}
	slices.SortStableFunc(ms, func(a, b Match) int {
		return cmp.Compare(boolInt(b.cause == ds[0].Cause), boolInt(a.cause == ds[0].Cause))
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// replied tells whether a mail server spoke, and not only a program about a
// connection.
func (f *facts) replied() bool {
	for _, c := range f.codes {
		if c.kind == kindReply || c.kind == kindEnhanced {
			return true
		}
	}
	return f.event == nil || strings.HasPrefix(f.reply, "-ERR")
}

// matches is the code as it stands there, and behind it the code that it means:
// 0x8007274D is 10061.
func (c code) matches(lang codes.Lang) []Match {
	es := c.entries()
	family := map[codeKind]string{kindHResult: "windows", kindSocket: "winsock", kindErrno: "errno", kindReply: "smtp", kindEnhanced: "enhanced", kindSymbol: "symbol"}[c.kind]
	if len(es) == 0 {
		return []Match{Match{Code: c.canon, Family: family, DerivedFrom: c.from}.withRaw(c.raw)}
	}
	var out []Match
	for i, e := range es {
		m := entryMatch(e, c.canon, lang)
		m.DerivedFrom = c.from
		switch {
		case c.kind == kindSymbol && e.Family != "text":
			m.Code = e.Code // a name stands for its number
		case c.kind == kindErrno:
			m.Family, m.Symbol = family, c.symbol
		case i > 0:
			m.Code = e.Code
		}
		out = append(out, m.withRaw(c.raw))
		_, err := strconv.Atoi(e.Code)
		if i == 0 && c.kind == kindHResult && e.Family == "winsock" && err == nil && e.Code != m.Code {
			out = append(out, Match{ID: e.ID(), Code: e.Code, DerivedFrom: c.canon, Family: e.Family, Symbol: e.Symbol, Title: m.Title, cause: e.Cause})
		}
	}
	return out
}

func (m Match) withRaw(raw string) Match {
	if raw != m.Code {
		m.Raw = raw
	}
	return m
}

// MatchOf is an entry of the catalogue as explain shows it.
func MatchOf(e *codes.Entry, lang codes.Lang) Match { return entryMatch(e, e.Code, lang) }

func entryMatch(e *codes.Entry, code string, lang codes.Lang) Match {
	t := e.Text(lang)
	m := Match{ID: e.ID(), Code: code, Family: e.Family, Symbol: e.Symbol, Title: t.Title, Meaning: t.Meaning, Causes: t.Causes,
		Fixes: t.Fixes, Who: e.Who, Temporary: e.Temporary, Related: e.Related, References: e.References, cause: e.Cause}
	if e.Cause == "none" { // a success or a piece of advice: nobody has to act
		m.Who, m.Temporary = "", false
	}
	return m
}

// verify is the command that confirms a cause, as far as the text names the
// host or domain to look at.
func (f *facts) verify(cause string) *Verify {
	switch cause {
	case "port-in-use", "port-permission", "disk-full-server":
		return &Verify{"mailsrv", []string{"doctor"}}
	case "user-unknown", "spf-dkim-dmarc", "ptr-missing", "blocklisted", "retry-expired", "mail-loop", "sender-rejected", "greylisted":
		addr := f.ctx.Recipient
		if cause == "spf-dkim-dmarc" || cause == "sender-rejected" || cause == "ptr-missing" || cause == "blocklisted" {
			addr = f.ctx.Sender
		}
		if _, domain, ok := strings.Cut(addr, "@"); ok && isHost(domain) {
			return &Verify{"mailsrv", []string{"check-mx", domain}}
		}
		return nil
	case "dns-failure":
		if _, domain, ok := strings.Cut(f.ctx.Recipient, "@"); ok && isHost(domain) && f.ctx.Server == "" {
			return &Verify{"mailsrv", []string{"check-mx", domain}}
		}
	case "cancelled", "profile-config", "local-storage", "service-discontinued", "offline-mode", "mailbox-full", "message-too-large", "policy", "spam-content", "none":
		return nil
	}
	return f.probe(cause)
}

// probe is the conversation to try with the server of the text. Where a mail
// scanner stands between, the account tells the real server: "user/host".
func (f *facts) probe(cause string) *Verify {
	host := f.ctx.Server
	if cause == "antivirus-proxy" {
		if _, real, ok := strings.Cut(f.ctx.Account, "/"); ok && isHost(real) {
			host = real
		}
	}
	if !isHost(host) {
		return nil
	}
	proto := strings.ToLower(f.ctx.Protocol)
	if proto == "" {
		proto = protocolOfPort[f.ctx.Port]
	}
	if proto == "" {
		first, _, _ := strings.Cut(strings.ToLower(host), ".")
		proto = strings.ToLower(protocolOf(first))
	}
	if proto == "smtp" && (f.ctx.Port == 587 || f.ctx.Port == 465) {
		proto = "submission"
	}
	switch proto {
	case "smtp", "submission", "pop3", "imap":
	default:
		return nil
	}
	if f.ctx.Port > 0 {
		if strings.Contains(host, ":") {
			host = "[" + strings.Trim(host, "[]") + "]"
		}
		host = fmt.Sprintf("%s:%d", host, f.ctx.Port)
	}
	return &Verify{"mailsrv", []string{"probe", proto, host}}
}

var protocolOfPort = map[int]string{25: "smtp", 465: "smtp", 587: "smtp", 2525: "smtp", 110: "pop3", 995: "pop3", 143: "imap", 993: "imap"}
