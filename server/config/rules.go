package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"mailsrv/server/address"
)

// Action is what becomes of what a rule or check finds.
type Action string

// The actions.
const (
	Reject  Action = "reject"  // refused
	Unknown Action = "unknown" // of a [[rule]]: refused as if there were no such address
	Mark    Action = "mark"    // accepted, with a header field X-Mailsrv-Mark
	LogOnly Action = "log"     // accepted, with a line in the log
	Allow   Action = "allow"   // of a [[rule]]: the rules and checks after it are not asked
	Off     Action = "off"     // not asked
)

// Rule is a [[rule]]: what all its conditions hold for. A condition with several
// values holds for any of them; one that is empty holds for everything.
type Rule struct {
	Name       string
	Action     Action
	For        string // "strangers", "users", "all"
	Clients    []netip.Prefix
	HELO       []address.Pattern
	Senders    []address.Pattern
	Recipients []address.Pattern
	Headers    []HeaderPattern
	Reply      Reply // of reject; zero: the usual one
	Line       int   `json:"-"`
}

// HeaderPattern is a header field and what stands in it.
type HeaderPattern struct {
	Field string
	Value address.Pattern
}

func (h HeaderPattern) String() string { return h.Field + ": " + h.Value.String() }

// Reply is an SMTP reply of the administrator's own.
type Reply struct {
	Code     int
	Enhanced string
	Text     string
}

func (r Reply) String() string {
	if r == (Reply{}) {
		return ""
	}
	return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
}

// RelayClient is a [[relay.client]]: networks that may relay, some of them only
// with certain senders or to certain recipients.
type RelayClient struct {
	Networks   []netip.Prefix
	Senders    []address.Pattern
	Recipients []address.Pattern
	Line       int `json:"-"`
}

// SendAs is an [[auth.send_as]]: users who may send with addresses that are not
// theirs.
type SendAs struct {
	Users   []address.Pattern
	Senders []address.Pattern
	Line    int `json:"-"`
}

// Checks says what becomes of mail from strangers that fails a check.
type Checks struct {
	HELOSyntax Action // the HELO name cannot be one
	HELOFQDN   Action // it is no full name
	HELOOwn    Action // it is this server's own name or address
	SenderFQDN Action // the sender's domain is no full name
	SenderDNS  Action // the sender's domain does not exist, or takes no mail; asks the DNS
	SenderOwn  Action // the sender is of a local domain
	MessageID  Action // the Message-ID is missing or no such thing
}

// DNSBL is a [[dnsbl]]: a list in the DNS of addresses that send junk (RFC 5782).
type DNSBL struct {
	Zone   string
	Codes  []netip.Prefix // answers that mean that an address is listed
	Action Action
	Reply  Reply
	Line   int `json:"-"`
}

// deadLists are lists that are no more. Some of them answer that everybody is
// listed.
var deadLists = []string{"maps.vix.com", "mail-abuse.org", "mail-abuse.com", "orbs.org", "orbs.dorkslayers.com", "orbz.org", "ordb.org", "njabl.org", "ahbl.org", "dsbl.org", "spamcannibal.org", "sorbs.net", "dorkslayers.com", "inputs.orbz.org", "relays.osirusoft.com", "blackholes.us"}

// defaultCodes are the answers that count where [[dnsbl]] names none: 127.0.0.2
// to 127.0.0.255 (RFC 5782 2.1).
var defaultCodes = func() (out []netip.Prefix) {
	for _, s := range rangeToCIDR(netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.255")) {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

var ruleSettings = []setting{
	{key: "relay.backup_mx", set: noAutomaticBackup, item: pattern(func(c *Config) *[]address.Pattern { return &c.Relay.BackupMX })},
	{key: "relay.client[].networks", item: networks(func(c *Config) *[]netip.Prefix { return &last(c.Relay.Clients).Networks })},
	{key: "relay.client[].senders", item: pattern(func(c *Config) *[]address.Pattern { return &last(c.Relay.Clients).Senders })},
	{key: "relay.client[].recipients", item: pattern(func(c *Config) *[]address.Pattern { return &last(c.Relay.Clients).Recipients })},
	{key: "relay.allow_from", set: forgeable},
	{key: "relay.allow_relay_from", set: forgeable},
	{key: "relay.senders", set: forgeable},
	{key: "relay.roam", set: forgeable},
	{key: "relay.roam_users", set: forgeable},
	{key: "relay.roam_hosts", set: forgeable},

	{key: "auth.send_as[].users", item: pattern(func(c *Config) *[]address.Pattern { return &last(c.Auth.SendAs).Users })},
	{key: "auth.send_as[].senders", item: pattern(func(c *Config) *[]address.Pattern { return &last(c.Auth.SendAs).Senders })},

	{key: "checks.helo_syntax", set: checkAction(func(c *Config) *Action { return &c.Checks.HELOSyntax })},
	{key: "checks.helo_fqdn", set: checkAction(func(c *Config) *Action { return &c.Checks.HELOFQDN })},
	{key: "checks.helo_own", set: checkAction(func(c *Config) *Action { return &c.Checks.HELOOwn })},
	{key: "checks.sender_fqdn", set: checkAction(func(c *Config) *Action { return &c.Checks.SenderFQDN })},
	{key: "checks.sender_dns", set: checkAction(func(c *Config) *Action { return &c.Checks.SenderDNS })},
	{key: "checks.sender_own", set: checkAction(func(c *Config) *Action { return &c.Checks.SenderOwn })},
	{key: "checks.message_id", set: checkAction(func(c *Config) *Action { return &c.Checks.MessageID })},

	{key: "rule[].name", set: func(c *Config, v value) fault {
		f := text(&last(c.Rules).Name)(v)
		if f.kind == "" && (v.text == "" || strings.Trim(v.text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "") {
			f = bad("is a word of letters, digits and . _ - that stands in the log")
		}
		return f
	}},
	{key: "rule[].action", set: action(func(c *Config) *Action { return &last(c.Rules).Action }, Reject, Unknown, Mark, LogOnly, Allow, Off)},
	{key: "rule[].for", set: func(c *Config, v value) fault {
		return oneOf(&last(c.Rules).For, "strangers", "users", "all")(v)
	}},
	{key: "rule[].clients", item: networks(func(c *Config) *[]netip.Prefix { return &last(c.Rules).Clients })},
	{key: "rule[].helo", item: words(func(c *Config) *[]address.Pattern { return &last(c.Rules).HELO })},
	{key: "rule[].senders", item: pattern(func(c *Config) *[]address.Pattern { return &last(c.Rules).Senders })},
	{key: "rule[].recipients", item: pattern(func(c *Config) *[]address.Pattern { return &last(c.Rules).Recipients })},
	{key: "rule[].headers", item: addHeader},
	{key: "rule[].reply", set: ownReply(func(c *Config) *Reply { return &last(c.Rules).Reply })},

	{key: "dnsbl[].zone", set: setZone},
	{key: "dnsbl[].codes", item: addCode},
	{key: "dnsbl[].action", set: action(func(c *Config) *Action { return &last(c.DNSBLs).Action }, Reject, Mark, LogOnly, Off)},
	{key: "dnsbl[].reply", set: ownReply(func(c *Config) *Reply { return &last(c.DNSBLs).Reply })},
}

func last[T any](list []T) *T { return &list[len(list)-1] }

// arrays begins one more table of each kind in double brackets; line is where.
var arrays = map[string]func(c *Config, line int){
	"doctor.ignore": func(c *Config, _ int) { c.Doctor.Ignore = append(c.Doctor.Ignore, Ignore{}) },
	"relay.client":  func(c *Config, line int) { c.Relay.Clients = append(c.Relay.Clients, RelayClient{Line: line}) },
	"relay.route":   func(c *Config, line int) { c.Relay.Routes = append(c.Relay.Routes, Route{Line: line}) },
	"auth.send_as":  func(c *Config, line int) { c.Auth.SendAs = append(c.Auth.SendAs, SendAs{Line: line}) },
	"rule": func(c *Config, line int) {
		c.Rules = append(c.Rules, Rule{Name: "rule-" + strconv.Itoa(len(c.Rules)+1), For: "all", Line: line})
	},
	"dnsbl": func(c *Config, line int) { c.DNSBLs = append(c.DNSBLs, DNSBL{Action: Reject, Line: line}) },
}

// forgeable refuses the settings of older servers that let mail through because
// of its sender's address.
func forgeable(*Config, value) fault {
	return bad("is not offered: anybody can write any sender, so whoever guesses one could send to the whole world through this server; let people log in instead ([auth], port 587), or name their networks in relay.networks or [[relay.client]]")
}

// noAutomaticBackup refuses to pass on for whoever points an MX record here.
func noAutomaticBackup(c *Config, v value) fault {
	c.Relay.BackupMX = nil
	if v.kind == boolValue || v.kind == stringValue && slices.Contains([]string{"auto", "yes", "mx", "*"}, strings.ToLower(v.text)) {
		return bad(`lists the domains, such as ["example.net"]: if every domain counted whose MX record names this server, anybody could make it relay by writing such a record`)
	}
	return fault{}
}

func checkAction(to func(*Config) *Action) func(*Config, value) fault {
	return action(to, Reject, Mark, LogOnly, Off)
}

func action(to func(*Config) *Action, accepted ...Action) func(*Config, value) fault {
	list := make([]string, len(accepted))
	for i, a := range accepted {
		list[i] = string(a)
	}
	return func(c *Config, v value) fault {
		var s string
		switch strings.ToLower(v.text) {
		case "true", "yes", "error", "deny":
			return oneOf(&s, list...)(value{kind: stringValue}).meant(quoted(string(Reject)))
		case "false", "no":
			return oneOf(&s, list...)(value{kind: stringValue}).meant(quoted(string(Off)))
		case "discard":
			f := oneOf(&s, list...)(value{kind: stringValue})
			f.message += "; mail is never thrown away without anybody knowing"
			return f.meant(quoted(string(Reject)))
		}
		f := oneOf(&s, list...)(v)
		if f.kind == "" {
			*to(c) = Action(s)
		}
		return f
	}
}

func pattern(to func(*Config) *[]address.Pattern) func(*Config, value) fault {
	return func(c *Config, v value) fault {
		p, err := address.ParsePattern(v.text)
		if v.kind != stringValue || err != nil {
			const accepted = `; write "user@example.com", "user@", "example.com", ".example.com" (its subdomains), "<>" or "/regular expression/"`
			if err == nil {
				return bad("must be text in quotes%s", accepted)
			}
			if rest, ok := strings.CutPrefix(v.text, "@"); ok {
				return bad("%v", err).meant(quoted(rest))
			}
			return bad("%v%s", err, accepted)
		}
		*to(c) = append(*to(c), p)
		return fault{}
	}
}

func words(to func(*Config) *[]address.Pattern) func(*Config, value) fault {
	return func(c *Config, v value) fault {
		p, err := address.Glob(v.text)
		if v.kind != stringValue || err != nil {
			return bad(`must be a name, with * for any letters ("*.dyn.example.net"), or "/regular expression/": %v`, err)
		}
		*to(c) = append(*to(c), p)
		return fault{}
	}
}

func addHeader(c *Config, v value) fault {
	const accepted = `must be "Field: text", with * for any letters, or "Field: /regular expression/"`
	field, text, ok := strings.Cut(v.text, ":")
	text = strings.TrimSpace(text)
	if v.kind != stringValue || !ok || text == "" || strings.Trim(strings.ToLower(field), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || field == "" {
		return bad("%s", accepted)
	}
	p, err := address.Glob(text)
	if err != nil {
		return bad("%v; %s", err, accepted)
	}
	r := last(c.Rules)
	r.Headers = append(r.Headers, HeaderPattern{field, p})
	return fault{}
}

func networks(to func(*Config) *[]netip.Prefix) func(*Config, value) fault {
	return func(c *Config, v value) fault {
		p, f := network(v)
		if f.kind == "" {
			*to(c) = append(*to(c), p)
		}
		return f
	}
}

// ownReply reads "550 5.7.1 text", or the text alone.
func ownReply(to func(*Config) *Reply) func(*Config, value) fault {
	return func(c *Config, v value) fault {
		r, err := ParseReply(v.text)
		if v.kind != stringValue || err != nil {
			return bad(`must be a refusal such as "550 5.7.1 We do not take mail from there", of ASCII, at most 400 characters: %v`, err)
		}
		*to(c) = r
		return fault{}
	}
}

// ParseReply reads a refusal: code, enhanced code and text, or the text alone,
// which then goes with 550 5.7.1.
func ParseReply(s string) (Reply, error) {
	r := Reply{Code: 550, Enhanced: "5.7.1", Text: strings.TrimSpace(s)}
	for _, c := range s {
		if c < ' ' || c > '~' {
			return Reply{}, fmt.Errorf("%q is not allowed in it", c)
		}
	}
	if len(s) > 400 {
		return Reply{}, fmt.Errorf("it is too long")
	}
	first, rest, _ := strings.Cut(r.Text, " ")
	if code, err := strconv.Atoi(first); err == nil && len(first) == 3 {
		if code < 400 || code > 599 {
			return Reply{}, fmt.Errorf("%d is no refusal: 4xx asks to come again, 5xx refuses for good", code)
		}
		r.Code, r.Enhanced, r.Text = code, strconv.Itoa(code/100)+".7.1", strings.TrimSpace(rest)
		first, rest, _ = strings.Cut(r.Text, " ")
		if isEnhanced(first) {
			if first[0] != byte('0'+code/100) {
				return Reply{}, fmt.Errorf("%d and %s contradict each other", code, first)
			}
			r.Enhanced, r.Text = first, strings.TrimSpace(rest)
		}
	}
	if r.Text == "" {
		return Reply{}, fmt.Errorf("the text is missing")
	}
	return r, nil
}

func isEnhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || (parts[0] != "4" && parts[0] != "5") {
		return false
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

func setZone(c *Config, v value) fault {
	zone, err := ParseDomain(v.text)
	if v.kind != stringValue || err != nil || strings.HasPrefix(zone, "[") {
		return bad(`must be the zone of a list, such as "dnsbl.example.org"`)
	}
	last(c.DNSBLs).Zone = zone
	for _, dead := range deadLists {
		if zone == dead || strings.HasSuffix(zone, "."+dead) {
			return bad("is a list that is no more; such zones answer nothing, or that everybody is listed: take it out")
		}
	}
	return fault{}
}

func addCode(c *Config, v value) fault {
	d := last(c.DNSBLs)
	p, likely, err := ParseNetwork(v.text)
	list := []netip.Prefix{p}
	if err != nil && strings.ContainsAny(v.text, "-") && len(likely) > 0 {
		list, err = nil, nil
		for _, s := range likely {
			list = append(list, netip.MustParsePrefix(s))
		}
	}
	for _, p := range list {
		if err != nil || v.kind != stringValue || !p.Addr().Is4() || p.Addr().As4()[0] != 127 || p.Bits() < 8 {
			return bad(`must be answers of the list, such as "127.0.0.2", "127.0.0.4-127.0.0.11" or "127.0.0.0/28"; see its documentation`)
		}
		if p.Overlaps(netip.MustParsePrefix("127.255.255.0/24")) {
			return bad("127.255.255.x is no listing: with it a list says that it does not answer this resolver")
		}
	}
	d.Codes = append(d.Codes, list...)
	return fault{}
}

// ruleProblems finds tables that lack what they need. Where a line of one is
// wrong already, that comes first.
func (l *loader) ruleProblems() (ps Problems) {
	for _, p := range l.problems {
		if strings.Contains(p.Key, "[].") {
			return nil
		}
	}
	c := l.c
	wrong := func(line int, key, format string, args ...any) {
		ps = append(ps, Problem{Kind: BadValue, Line: line, Key: key, Message: fmt.Sprintf(format, args...)})
	}
	for _, r := range c.Relay.Clients {
		if len(r.Networks) == 0 {
			wrong(r.Line, "relay.client", "needs networks: sender and recipient alone anybody can write")
		}
	}
	for _, s := range c.Auth.SendAs {
		if len(s.Users) == 0 || len(s.Senders) == 0 {
			wrong(s.Line, "auth.send_as", `needs users (who may) and senders (with which addresses), such as users = ["taro@example.com"], senders = ["info@example.net"]`)
		}
	}
	names := map[string]int{}
	for _, r := range c.Rules {
		switch {
		case r.Action == "":
			wrong(r.Line, "rule", "needs an action: reject, unknown, mark, log, allow or off")
		case len(r.Clients)+len(r.HELO)+len(r.Senders)+len(r.Recipients)+len(r.Headers) == 0:
			wrong(r.Line, "rule", "has no condition and would hold for all mail: give clients, helo, senders, recipients or headers")
		case r.Reply != (Reply{}) && r.Action != Reject:
			wrong(r.Line, "rule", "has a reply, which only action = \"reject\" gives")
		case r.Action == Unknown && len(r.Recipients) == 0:
			wrong(r.Line, "rule", "needs recipients: action = \"unknown\" says of an address that it does not exist")
		case r.Action == Unknown && len(r.Headers) > 0:
			wrong(r.Line, "rule", "looks at headers, which come after the recipients: action = \"unknown\" is too late then, use reject")
		case names[r.Name] > 0:
			wrong(r.Line, "rule", "has the name %q of the rule in line %d", r.Name, names[r.Name])
		}
		names[r.Name] = max(r.Line, 1)
	}
	zones := map[string]int{}
	for i, d := range c.DNSBLs {
		switch {
		case d.Zone == "":
			wrong(d.Line, "dnsbl", `needs a zone, such as zone = "dnsbl.example.org"`)
		case zones[d.Zone] > 0 && d.Zone != "":
			wrong(d.Line, "dnsbl", "names the zone of line %d again", zones[d.Zone])
		}
		zones[d.Zone] = max(d.Line, 1)
		if len(d.Codes) == 0 {
			c.DNSBLs[i].Codes = defaultCodes
		}
	}
	return ps
}
