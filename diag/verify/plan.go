package verify

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mailsrv/diag"
	"mailsrv/diag/doctor/talk"
	"mailsrv/diag/explain"
)

// Plan is what will be asked about one input.
type Plan struct {
	v *Verifier
	r *explain.Result

	asks    []*ask
	mx      []*mxAsk // domains whose mail host is asked: no server is named
	names   []string // host names that every resolver is asked for
	domains []domainAsk
	client  netip.Addr // who was refused, as the server's words say
	list    string     // the block list that they name
	sockets bool       // look who listens on this machine

	found []diag.Finding
}

// ask is one conversation.
type ask struct {
	protocol, host string
	port           int
	tls            string
	from, to, user string
	causes         []string
	report         *talk.Report
}

// mxAsk is a conversation with a domain's mail host, which DNS names.
type mxAsk struct {
	domain, to string
	causes     []string
}

// domainAsk is one look at a domain's DNS.
type domainAsk struct {
	name     string
	families []string
}

func (d domainAsk) key() string { return d.name + " " + d.families[0] }

func (a *ask) key() string {
	return fmt.Sprintf("%s %s %d %s %q %q %q", a.protocol, a.host, a.port, a.tls, a.from, a.to, a.user)
}

// hostPort is where it goes.
func (a *ask) hostPort() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

// What a cause needs before anything can be said about it.
const (
	needTCP      = "tcp"
	needTLS      = "tls"
	needGreeting = "greeting"
	needCaps     = "capabilities"
	needLogin    = "auth"
	needMail     = "mail"
	needRcpt     = "rcpt"
	needData     = "data"

	needSockets = "sockets" // of this machine
	needName    = "name"
	needProgram = "program" // only the mail program knows
)

// needs is how far a conversation must go, by cause.
var needs = map[string]string{
	"dns-failure": needName, "connect-refused": needTCP, "connect-timeout": needTCP, "network-unreachable": needTCP, "firewall-local": needTCP, "port25-blocked": needTCP,
	"connection-reset": needGreeting, "server-timeout": needGreeting, "antivirus-proxy": needGreeting, "tls-mismatch": needGreeting,
	"tls-cert": needTLS, "tls-version": needTLS, "tls-required": needMail, "auth-method": needCaps, "auth-required": needMail,
	"auth-failed": needLogin, "app-password": needLogin, "account-blocked": needLogin, "mailbox-locked": needLogin, "mailbox-damaged": needLogin,
	"sender-rejected": needMail, "disk-full-server": needMail, "server-temporary": needRcpt, "rate-limit": needRcpt, "syntax-error": needRcpt, "retry-expired": needRcpt,
	"relay-denied": needRcpt, "pop-before-smtp": needRcpt, "user-unknown": needRcpt, "mailbox-full": needRcpt, "greylisted": needRcpt, "policy": needRcpt, "mail-loop": needRcpt,
	"blocklisted": needRcpt, "ptr-missing": needRcpt, "spf-dkim-dmarc": needRcpt,
	"spam-content": needData, "message-too-large": needData,
	"port-in-use": needSockets, "port-permission": needSockets,
	"cancelled": needProgram, "profile-config": needProgram, "local-storage": needProgram, "offline-mode": needProgram, "service-discontinued": needProgram,
}

// needOf is what a cause needs in a protocol: in POP3 and IMAP most of what a
// server refuses comes after the login.
func needOf(cause, protocol string) string {
	n := needs[cause]
	if protocol == talk.POP3 || protocol == talk.IMAP {
		switch {
		case cause == "rate-limit":
			return needGreeting
		case cause == "tls-required":
			return needLogin
		case n == needMail || n == needRcpt || n == needData:
			return needLogin
		}
	}
	return n
}

// Plan works out what to ask about a result and writes it down there. Nothing is
// contacted.
func (v *Verifier) Plan(r *explain.Result) *Plan {
	p := &Plan{v: v, r: r}
	if r.Context == nil && v.opt.Server.Host != "" {
		r.Context = &explain.Context{}
	}
	for _, d := range r.Diagnosis {
		p.plan(d)
	}
	for _, a := range p.asks {
		a.complete(p)
	}
	r.Contacts = p.contacts()
	return p
}

// plan adds what one cause needs.
func (p *Plan) plan(d explain.Diagnosis) {
	switch needs[d.Cause] {
	case needProgram, "":
		if d.Cause != "unknown" {
			return
		}
	case needSockets:
		p.sockets = true
		return
	}
	if p.elsewhere(d) {
		return
	}
	a, missing := p.target(d)
	if a == nil {
		if c := p.r.Context; d.Cause == "dns-failure" && c != nil && isDomain(c.Server) {
			p.names = append(p.names, c.Server) // whatever it serves
			return
		}
		if missing != "" && d.Cause != "unknown" {
			p.skip("explain.no_target", "", d.Cause, diag.Evidence{"need": missing})
		}
		return
	}
	p.join(a, d.Cause)
	if _, err := netip.ParseAddr(a.host); err != nil && d.Cause == "dns-failure" && !slices.Contains(p.names, a.host) {
		p.names = append(p.names, a.host)
	}
	if ours(a.host) {
		p.sockets = true
	}
	if d.Cause == "antivirus-proxy" { // the real server behind the scanner's address
		if real := verifyTarget(d); real != nil && real.host != a.host {
			p.join(real, d.Cause)
		}
	}
	if d.Cause == "tls-required" && a.tls != talk.None && !implicit(a) {
		plain := *a
		plain.tls, plain.causes = talk.None, nil
		p.join(&plain, d.Cause)
	}
}

// join adds a conversation, or a cause to the one that is planned already.
func (p *Plan) join(a *ask, cause string) {
	same := func(b *ask) bool { return a.protocol == b.protocol && a.hostPort() == b.hostPort() && a.tls == b.tls }
	i := slices.IndexFunc(p.asks, same)
	if i < 0 {
		if len(p.asks) >= maxForOne {
			p.skip("explain.limit", "", cause, diag.Evidence{})
			return
		}
		p.asks = append(p.asks, a)
		i = len(p.asks) - 1
	}
	p.asks[i].causes = append(p.asks[i].causes, cause)
}

// target is the conversation that a cause is about, or what the text does not
// say.
func (p *Plan) target(d explain.Diagnosis) (a *ask, missing string) {
	if p.r.Input.Kind == explain.KindLog && len(p.r.Diagnosis) > 1 { // each about another server
		if a = verifyTarget(d); a == nil {
			a = connectTo(d.Evidence)
		}
		if a == nil {
			return nil, "log"
		}
		return a, ""
	}
	c := p.r.Context
	if c == nil {
		c = &explain.Context{}
	}
	a = &ask{protocol: strings.ToLower(c.Protocol), host: strings.Trim(c.Server, "[]"), port: c.Port}
	if !p.mine() {
		a.protocol = talk.SMTP
		if len(p.r.Bounces) > 0 && isHost(p.r.Bounces[0].RemoteHost) {
			a.host = p.r.Bounces[0].RemoteHost
		}
	}
	if s := p.v.opt.Server; !isHost(a.host) || s.Host != "" && protocolOf(a, d, p.r) == "" {
		if s.Host == "" {
			return nil, "server"
		}
		a.host, a.port, a.protocol = s.Host, s.Port, firstOf(s.Protocol, a.protocol)
	}
	a.tls = talk.Auto
	if c.TLS != nil && !*c.TLS && !p.suspects("tls-cert") && !p.suspects("tls-version") {
		a.tls = talk.None
	}
	if a.protocol = protocolOf(a, d, p.r); a.protocol == "" {
		return nil, "protocol"
	}
	if c.TLS != nil && *c.TLS {
		a.tls = talk.StartTLS
		switch {
		case a.port == 0:
			a.port = usualTLS[a.protocol]
			a.tls = talk.Implicit
		// Mail programs that speak of SSL begin with it everywhere but on 25.
		case a.port != 25 && (implicit(a) || a.protocol == talk.POP3 || p.suspects("tls-mismatch") || !wellKnown(a.port)):
			a.tls = talk.Implicit
		}
	}
	if a.port == 0 && p.mine() && a.protocol == talk.SMTP && !strings.HasPrefix(strings.ToLower(a.host), "mx") {
		a.protocol = talk.Submission // what mail programs use today
	}
	if usual := usualTLS[a.protocol]; a.port == 0 && usual != 0 && (p.suspects("tls-cert") || p.suspects("tls-version")) {
		a.port = usual
	}
	if a.port == 0 {
		a.port = usualPort[a.protocol]
	}
	return a, ""
}

var (
	usualPort = map[string]int{talk.SMTP: 25, talk.Submission: 587, talk.POP3: 110, talk.IMAP: 143}
	usualTLS  = map[string]int{talk.SMTP: 465, talk.Submission: 465, talk.POP3: 995, talk.IMAP: 993}
)

// suspects tells whether the diagnosis names a cause.
func (p *Plan) suspects(cause string) bool {
	return slices.ContainsFunc(p.r.Diagnosis, func(d explain.Diagnosis) bool { return d.Cause == cause })
}

func implicit(a *ask) bool {
	return a.tls == talk.Implicit || slices.Contains([]int{465, 993, 995}, a.port) && a.tls != talk.None
}

func wellKnown(port int) bool { return protocolOfPort[port] != "" }

var protocolOfPort = map[int]string{25: talk.SMTP, 465: talk.Submission, 587: talk.Submission, 110: talk.POP3, 995: talk.POP3, 143: talk.IMAP, 993: talk.IMAP}

// protocolOf finds what to speak: as the text says, by the port, the server's
// name, the command that verifies the cause, or the codes of the text.
func protocolOf(a *ask, d explain.Diagnosis, r *explain.Result) string {
	switch a.protocol {
	case talk.SMTP, talk.Submission:
		if a.port == 587 || a.port == 465 {
			return talk.Submission
		}
		return talk.SMTP
	case talk.POP3, talk.IMAP:
		return a.protocol
	}
	if p := protocolOfPort[a.port]; p != "" {
		return p
	}
	first, _, _ := strings.Cut(strings.ToLower(a.host), ".")
	for prefix, p := range map[string]string{"pop": talk.POP3, "imap": talk.IMAP, "smtp": talk.SMTP, "mx": talk.SMTP} {
		if strings.HasPrefix(first, prefix) {
			return p
		}
	}
	if v := verifyTarget(d); v != nil {
		return v.protocol
	}
	for _, m := range r.Matches {
		for prefix, p := range map[string]string{"0x800CCC6": talk.SMTP, "0x800CCC7": talk.SMTP, "0x800CCC9": talk.POP3, "0x800CCCA": talk.POP3, "0x800CCCD": talk.IMAP} {
			if strings.HasPrefix(m.Code, prefix) {
				return p
			}
		}
	}
	if sending[d.Cause] {
		return talk.SMTP
	}
	return ""
}

// sending are causes that only sending knows.
var sending = map[string]bool{
	"auth-required": true, "pop-before-smtp": true, "relay-denied": true, "sender-rejected": true, "user-unknown": true, "message-too-large": true, "greylisted": true,
	"blocklisted": true, "ptr-missing": true, "spf-dkim-dmarc": true, "spam-content": true, "mail-loop": true, "retry-expired": true,
}

// verifyTarget is the conversation that the diagnosis itself suggests.
func verifyTarget(d explain.Diagnosis) *ask {
	if d.Verify == nil || len(d.Verify.Args) != 3 || d.Verify.Args[0] != "probe" {
		return nil
	}
	a := &ask{protocol: d.Verify.Args[1], host: d.Verify.Args[2], tls: talk.Auto}
	if host, port, err := net.SplitHostPort(a.host); err == nil {
		a.host = host
		a.port, _ = strconv.Atoi(port) // made by explain: a number, or 0 for the usual port
	}
	if a.port == 0 {
		a.port = usualPort[a.protocol]
	}
	return a
}

var connectWords = regexp.MustCompile(`connect to [^\s\[]*\[([0-9A-Fa-f.:]+)\]:(\d{1,5})\b`)

// connectTo is whom a server could not reach, as Postfix says it: "connect to
// mx.example.org[192.0.2.1]:25: ...".
func connectTo(words []string) *ask {
	for _, w := range words {
		m := connectWords.FindStringSubmatch(w)
		if m == nil || !isHost(m[1]) {
			continue
		}
		if port, err := strconv.Atoi(m[2]); err == nil && port > 0 && port < 65536 {
			return &ask{protocol: talk.SMTP, host: m[1], port: port, tls: talk.Auto}
		}
	}
	return nil
}

// complete adds what is asked within the conversation: whom the mail was for,
// who fetches it.
func (a *ask) complete(p *Plan) {
	c := p.r.Context
	if c == nil {
		return
	}
	switch a.protocol {
	case talk.POP3:
		// The name alone tells whether logins are taken here at all.
		if user, _, _ := strings.Cut(c.Account, "/"); user != "" && (strings.Contains(user, "@") || !strings.Contains(user, ".")) && !strings.ContainsAny(user, " \t\r\n") {
			a.user = user
		}
	case talk.SMTP, talk.Submission:
		if !slices.ContainsFunc(a.causes, func(cause string) bool { return needs[cause] == needMail || needs[cause] == needRcpt }) {
			return
		}
		a.from, a.to = addressOf(c.Sender), addressOf(c.Recipient)
		for _, b := range p.r.Bounces {
			if b.RemoteHost == a.host || a.to == "" {
				a.to = firstOf(addressOf(b.Recipient), a.to)
				break
			}
		}
		if !p.mine() {
			a.from = "" // a delivery report's own sender: nobody's mail
		}
		if a.to == "" {
			a.to = "postmaster" // which every server takes, RFC 5321 section 4.5.1
		}
	}
}

// addressOf is s when it can stand in MAIL and RCPT.
func addressOf(s string) string {
	if strings.Count(s, "@") != 1 || strings.ContainsAny(s, " \t\r\n<>\x00") {
		return ""
	}
	return s
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// skip notes what cannot be found out for a cause, once with all its causes.
func (p *Plan) skip(id, subject, cause string, ev diag.Evidence) {
	if subject == "" {
		subject = firstOf(p.r.Input.Name, "input")
	}
	for i := range p.found {
		f := &p.found[i]
		if list, ok := f.Evidence["causes"].([]string); ok && f.ID == id && f.Subject == subject {
			if !slices.Contains(list, cause) {
				f.Evidence["causes"] = append(list, cause)
			}
			return
		}
	}
	ev["causes"] = []string{cause}
	p.found = append(p.found, diag.New(id, subject, ev))
}

// contacts lists what will be contacted.
func (p *Plan) contacts() []explain.Contact {
	var out []explain.Contact
	if p.sockets {
		out = append(out, explain.Contact{How: "sockets", Where: "this machine"})
	}
	for _, n := range p.names {
		out = append(out, explain.Contact{How: "dns", Where: strings.Join(p.v.resolvers(), ", "), What: n})
	}
	for _, d := range p.domains {
		out = append(out, explain.Contact{How: "dns", Where: strings.Join(p.v.resolvers(), ", "), What: d.name + " (" + strings.Join(d.families, ", ") + ")"})
	}
	if p.client.IsValid() {
		out = append(out, explain.Contact{How: "dns", Where: strings.Join(p.v.resolvers(), ", "), What: strings.TrimSuffix(p.client.String()+" (PTR), "+p.list, ", ")})
	}
	for _, m := range p.mx {
		out = append(out, explain.Contact{How: talk.SMTP, Where: "MX of " + m.domain, What: "25", RCPT: m.to})
	}
	for _, a := range p.asks {
		c := explain.Contact{How: a.protocol, Where: a.hostPort(), What: a.tls, RCPT: a.to}
		if implicit(a) {
			c.What = talk.Implicit
			c.Then = append(c.Then, fmt.Sprintf("%d %s", a.port, talk.None))
		} else {
			c.Then = append(c.Then, fmt.Sprintf("%d %s", a.port, talk.Implicit))
		}
		for _, x := range talk.Usual(a.protocol) {
			if x.Port != a.port {
				c.Then = append(c.Then, fmt.Sprintf("%d %s", x.Port, x.TLS))
			}
		}
		out = append(out, c)
	}
	return out
}

// recipientAt is the first recipient in a domain.
func (p *Plan) recipientAt(domain string) string {
	for _, b := range p.r.Bounces {
		if a := addressOf(b.Recipient); strings.HasSuffix(a, "@"+domain) {
			return a
		}
	}
	return p.recipient()
}

func (p *Plan) recipient() string {
	for _, b := range p.r.Bounces {
		if a := addressOf(b.Recipient); a != "" {
			return a
		}
	}
	if p.r.Context != nil {
		return addressOf(p.r.Context.Recipient)
	}
	return ""
}
