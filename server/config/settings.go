package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting is one key. set stores its value into c and returns what is wrong
// with it, an empty fault when nothing is. A setting with item is a list, where
// one value alone is a list of one: item adds one value, and set, if there is
// one, begins the list.
type setting struct {
	key  string
	set  func(c *Config, v value) fault
	item func(c *Config, v value) fault

	secret bool // its value is not shown in messages
}

// fault is a Problem without its place.
type fault struct {
	kind       Kind
	message    string
	suggestion string
	later      bool
}

func bad(format string, args ...any) fault {
	return fault{kind: BadValue, message: fmt.Sprintf(format, args...)}
}

func (f fault) meant(suggestion string) fault {
	f.suggestion = suggestion
	return f
}

// settings is every key that may stand in a file. Array tables are named with
// "[]". Keys of later versions are known so that they are not taken for
// mistakes; their neutral value, the one that asks for nothing, is accepted.
var settings = append([]setting{
	{key: "hostname", set: func(c *Config, v value) fault {
		f := text(&c.Hostname)(v)
		if f.kind != "" || c.Hostname == "" {
			return f
		}
		if err := CheckHostname(c.Hostname); err != nil {
			return bad("%v", err)
		}
		return fault{}
	}},
	{key: "data_dir", set: path(func(c *Config) *string { return &c.DataDir })},
	{key: "domains", item: addDomain},
	{key: "user", set: setUser},
	{key: "lang", set: func(c *Config, v value) fault { return oneOf(&c.Lang, "en", "ja", "")(v) }},

	{key: "listen.smtp", item: listen(SMTP)},
	{key: "listen.submission", item: listen(Submission)},
	{key: "listen.submissions", item: listen(Submissions)},
	{key: "listen.pop3", item: listen(POP3)},
	{key: "listen.pop3s", item: listen(POP3S)},
	{key: "listen.imap", set: later(`""`)},
	{key: "listen.imaps", set: later(`""`)},
	{key: "listen.finger", set: later(`""`)},
	{key: "listen.web", item: listen(Web)},

	{key: "tls.cert", set: path(func(c *Config) *string { return &c.TLS.Cert })},
	{key: "tls.key", set: path(func(c *Config) *string { return &c.TLS.Key })},
	{key: "tls.acme", set: later("false")},

	{key: "dns.servers", item: addResolver},

	{key: "relay.allow", set: func(c *Config, v value) fault { return flag(&c.Relay.Allow)(v) }},
	{key: "relay.networks", item: networks(func(c *Config) *[]netip.Prefix { return &c.Relay.Networks })},
	{key: "relay.pop_before_smtp", set: func(c *Config, v value) fault {
		return duration(&c.Relay.PopBeforeSMTP, 0, 24*time.Hour)(v)
	}},
	{key: "relay.smart_host", set: smartHost(func(c *Config) *string { return &c.Relay.SmartHost })},
	{key: "relay.auth.username", set: func(c *Config, v value) fault { return text(&c.Relay.Auth.Username)(v) }},
	{key: "relay.auth.password", set: func(c *Config, v value) fault { return text(&c.Relay.Auth.Password)(v) }, secret: true},
	{key: "relay.auth.password_file", set: path(func(c *Config) *string { return &c.Relay.Auth.PasswordFile })},

	{key: "auth.mechanisms", set: noMechanisms, item: addMechanism},
	{key: "auth.require_tls", set: func(c *Config, v value) fault { return flag(&c.Auth.RequireTLS)(v) }},

	{key: "limits.message_size", set: func(c *Config, v value) fault { return size(&c.Limits.MessageSize)(v) }},
	{key: "limits.connections", set: func(c *Config, v value) fault { return number(&c.Limits.Connections, 1, 100_000)(v) }},
	{key: "limits.connections_per_ip", set: func(c *Config, v value) fault { return number(&c.Limits.ConnectionsPerIP, 1, 100_000)(v) }},
	{key: "limits.recipients", set: func(c *Config, v value) fault { return number(&c.Limits.Recipients, 1, 100_000)(v) }},
	{key: "limits.auth_failures", set: func(c *Config, v value) fault { return number(&c.Limits.AuthFailures, 1, 1000)(v) }},
	{key: "limits.idle_timeout", set: func(c *Config, v value) fault {
		return duration(&c.Limits.IdleTimeout, time.Second, 24*time.Hour)(v)
	}},

	{key: "mailbox.quota", set: func(c *Config, v value) fault {
		if v.kind == stringValue && v.text == "" {
			c.Mailbox.Quota = 0
			return fault{}
		}
		return size(&c.Mailbox.Quota)(v)
	}},
	{key: "mailbox.keep_deleted", set: func(c *Config, v value) fault { return duration(&c.Mailbox.KeepDeleted, 0, 3650*24*time.Hour)(v) }},

	{key: "retry.schedule", set: noSchedule, item: addWait},
	{key: "retry.warn_after", set: func(c *Config, v value) fault { return duration(&c.Retry.WarnAfter, 0, maxRetry)(v) }},
	{key: "retry.give_up_after", set: func(c *Config, v value) fault { return duration(&c.Retry.GiveUpAfter, time.Second, maxRetry)(v) }},

	{key: "log.level", set: func(c *Config, v value) fault { return oneOf(&c.Log.Level, "debug", "info", "warn", "error")(v) }},
	{key: "log.file", set: path(func(c *Config) *string { return &c.Log.File })},
	{key: "log.transcripts", set: later("false")},

	{key: "doctor.ignore[].id", set: func(c *Config, v value) fault { return text(&c.Doctor.last().ID)(v) }},
	{key: "doctor.ignore[].subject", set: func(c *Config, v value) fault { return text(&c.Doctor.last().Subject)(v) }},
	{key: "doctor.ignore[].reason", set: func(c *Config, v value) fault { return text(&c.Doctor.last().Reason)(v) }},
	{key: "doctor.ignore[].until", set: func(c *Config, v value) fault { return day(&c.Doctor.last().Until)(v) }},
}, slices.Concat(ruleSettings, routeSettings)...)

func (d *Doctor) last() *Ignore { return &d.Ignore[len(d.Ignore)-1] }

func text(to *string) func(value) fault {
	return func(v value) fault {
		if v.kind != stringValue {
			return bad("must be text in quotes").meant(strconv.Quote(v.raw))
		}
		*to = v.text
		return fault{}
	}
}

func oneOf(to *string, accepted ...string) func(value) fault {
	return func(v value) fault {
		list := `"` + strings.Join(accepted, `", "`) + `"`
		if v.kind != stringValue || !slices.Contains(accepted, v.text) {
			return bad("must be one of %s", list).meant(quoted(nearest(strings.ToLower(v.text), accepted)))
		}
		*to = v.text
		return fault{}
	}
}

func path(to func(*Config) *string) func(*Config, value) fault {
	return func(c *Config, v value) fault {
		var s string
		if f := text(&s)(v); f.kind != "" {
			return f
		}
		if strings.ContainsAny(s, "\x00\r\n\t\a\b\f\v") {
			return bad(`is no path: \ in double quotes begins an escape; write the path in single quotes`)
		}
		*to(c) = c.beside(s)
		return fault{}
	}
}

func flag(to *bool) func(value) fault {
	return func(v value) fault {
		switch {
		case v.kind == boolValue:
			*to = v.text == "true"
			return fault{}
		case v.text == "yes" || v.text == "on" || v.text == "1":
			return bad("must be true or false, without quotes").meant("true")
		case v.text == "no" || v.text == "off" || v.text == "0":
			return bad("must be true or false, without quotes").meant("false")
		}
		f := bad("must be true or false, without quotes")
		if t := strings.ToLower(v.text); t == "true" || t == "false" {
			f = f.meant(t)
		}
		return f
	}
}

func number(to *int, least, most int) func(value) fault {
	return func(v value) fault {
		f := bad("must be a whole number from %d to %d, without quotes", least, most)
		n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64)
		if err != nil || n < int64(least) || n > int64(most) {
			return f
		}
		if v.kind != intValue {
			return f.meant(v.text)
		}
		*to = int(n)
		return fault{}
	}
}

func size(to *int64) func(value) fault {
	return func(v value) fault {
		n, likely, err := ParseSize(v.text)
		if v.kind == stringValue && err == nil {
			*to = n
			return fault{}
		}
		_, _, err = ParseSize("")
		if v.kind == intValue {
			if n, perr := strconv.ParseInt(v.text, 10, 64); perr == nil && n > 0 {
				likely = FormatSize(n)
			}
		}
		return bad("%v", err).meant(quoted(likely))
	}
}

func duration(to *time.Duration, least, most time.Duration) func(value) fault {
	return func(v value) fault {
		d, likely, err := ParseDuration(v.text)
		if v.kind != stringValue || err != nil {
			if _, _, bad := ParseDuration(likely); bad != nil {
				likely = "" // "9999999999h" is no better than "9999999999 hours"
			}
			_, _, err = ParseDuration("")
			return bad("%v, in quotes", err).meant(quoted(likely))
		}
		if d < least || d > most {
			return bad("must be from %s to %s", FormatDuration(least), FormatDuration(most))
		}
		*to = d
		return fault{}
	}
}

func day(to *time.Time) func(value) fault {
	return func(v value) fault {
		t, err := time.Parse(time.DateOnly, v.text)
		if err != nil {
			return bad("must be a day such as 2030-12-31")
		}
		*to = t
		return fault{}
	}
}

// listen adds an address of one service; an empty text means off.
func listen(service string) func(*Config, value) fault {
	return func(c *Config, v value) fault {
		if v.kind == stringValue && v.text == "" {
			return fault{}
		}
		addr, message, likely := parseListen(service, v.text)
		if v.kind != stringValue && message == "" {
			message = "must be text in quotes"
		}
		if message != "" {
			return fault{kind: BadAddress, message: message, suggestion: likely}
		}
		l := Listener{Service: service, Addr: addr, Line: v.line}
		if l.Port() == 0 {
			return fault{kind: PortZero, message: "port 0 means a random one that no client could find",
				suggestion: quoted(strings.TrimSuffix(addr, "0") + strconv.Itoa(usualPort[service]))}
		}
		if service == Web {
			c.Web = append(c.Web, l)
		} else {
			c.Listen = append(c.Listen, l)
		}
		return fault{}
	}
}

// setUser takes the name of a system account.
func setUser(c *Config, v value) fault {
	if f := text(&c.User)(v); f.kind != "" {
		return f
	}
	if strings.ContainsFunc(c.User, func(r rune) bool { return r <= ' ' || r == ':' || r == '/' || r == 0x7f }) {
		return bad("must be the name of an account of this system, such as \"mailsrv\"")
	}
	return fault{}
}

// addDomain keeps a bad domain as it was written, so that doctor can show it.
func addDomain(c *Config, v value) fault {
	var s string
	if f := text(&s)(v); f.kind != "" {
		return f
	}
	d, err := ParseDomain(s)
	if err != nil {
		c.Domains = append(c.Domains, s)
		f := bad("%v", err)
		if a, aerr := netip.ParseAddr(s); aerr == nil && a.Is4() {
			f = f.meant(quoted("[" + s + "]"))
		} else if aerr == nil {
			f = f.meant(quoted("[IPv6:" + s + "]"))
		}
		return f
	}
	if !slices.Contains(c.Domains, d) {
		c.Domains = append(c.Domains, d)
	}
	return fault{}
}

func addResolver(c *Config, v value) fault {
	a, err := netip.ParseAddrPort(v.text)
	if err != nil {
		var ip netip.Addr
		ip, err = netip.ParseAddr(strings.Trim(v.text, "[]"))
		a = netip.AddrPortFrom(ip, 53)
	}
	if err != nil || a.Port() == 0 || v.kind != stringValue {
		return fault{kind: BadAddress, message: `must be the address of a resolver, "192.0.2.53" or "192.0.2.53:53"`}
	}
	c.DNS.Servers = append(c.DNS.Servers, a)
	return fault{}
}

func network(v value) (netip.Prefix, fault) {
	p, likely, err := ParseNetwork(v.text)
	if err == nil && v.kind == stringValue {
		return p, fault{}
	}
	_, _, accepted := ParseNetwork("")
	if err == nil {
		err = accepted
	}
	f := fault{kind: BadAddress, message: err.Error()}
	if len(likely) > 0 {
		f.suggestion = `"` + strings.Join(likely, `", "`) + `"`
	}
	return netip.Prefix{}, f
}

// Mechanisms are the SASL mechanisms that can be switched on.
var Mechanisms = []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}

func noMechanisms(c *Config, v value) fault {
	c.Auth.Mechanisms = nil
	if v.kind == listValue && len(v.list) == 0 {
		return bad("without a mechanism nobody can log in to send")
	}
	return fault{}
}

func addMechanism(c *Config, v value) fault {
	m := strings.ToUpper(v.text)
	if !slices.Contains(Mechanisms, m) {
		return bad("is not offered: PLAIN, LOGIN and SCRAM-SHA-256 are; passwords are kept as SCRAM verifiers, which CRAM-MD5, APOP and the like cannot use").
			meant(quoted(nearest(m, Mechanisms)))
	}
	if !slices.Contains(c.Auth.Mechanisms, m) {
		c.Auth.Mechanisms = append(c.Auth.Mechanisms, m)
	}
	return fault{}
}

// later refuses a setting of a later version unless it has the one value that
// asks for nothing.
func later(neutral string) func(*Config, value) fault {
	return func(_ *Config, v value) fault {
		if neutral != "" && (v.raw == neutral || v.raw == strings.ReplaceAll(neutral, `"`, `'`)) {
			return fault{}
		}
		f := fault{kind: UnknownKey, later: true, message: "is not supported by this version yet; leave it out"}
		if neutral != "" {
			f.message += " or set it to " + neutral
		}
		return f
	}
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}
