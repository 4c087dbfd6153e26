package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TOML writes the effective configuration the way Load reads it, except for
// passwords.
func (c *Config) TOML() string {
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "%s = %s\n", key, value) }
	table := func(name string) { fmt.Fprintf(&b, "\n[%s]\n", name) }

	line("hostname", tomlString(c.Hostname))
	line("data_dir", tomlString(c.DataDir))
	line("domains", list(c.Domains[:len(c.Domains)-len(c.Added)]))
	if len(c.Added) > 0 {
		fmt.Fprintf(&b, "# and, by mailsrv domain add: %s\n", strings.Join(c.Added, ", "))
	}
	line("user", tomlString(c.User))
	line("lang", tomlString(c.Lang))
	table("listen")
	for _, service := range []string{SMTP, Submission, Submissions, POP3, POP3S, Web} {
		var addrs []string
		for _, l := range slices.Concat(c.Listen, c.Web) {
			if l.Service == service {
				addrs = append(addrs, l.Addr)
			}
		}
		switch len(addrs) {
		case 0:
			line(service, `""`)
		case 1:
			line(service, tomlString(addrs[0]))
		default:
			line(service, list(addrs))
		}
	}
	table("tls")
	line("cert", tomlString(c.TLS.Cert))
	line("key", tomlString(c.TLS.Key))
	table("dns")
	line("servers", list(c.DNS.Servers))
	table("relay")
	line("allow", strconv.FormatBool(c.Relay.Allow))
	line("networks", list(c.Relay.Networks))
	line("backup_mx", list(c.Relay.BackupMX))
	line("pop_before_smtp", tomlString(FormatDuration(c.Relay.PopBeforeSMTP)))
	line("smart_host", tomlString(c.Relay.SmartHost))
	if a := c.Relay.Auth; a != (RelayAuth{}) {
		table("relay.auth")
		line("username", tomlString(a.Username))
		if a.Password != "" {
			line("password", `"(not shown)"`)
		}
		line("password_file", tomlString(a.PasswordFile))
	}
	table("retry")
	var waits []string
	for _, d := range c.Retry.Schedule {
		waits = append(waits, FormatDuration(d))
	}
	line("schedule", list(waits))
	line("warn_after", tomlString(FormatDuration(c.Retry.WarnAfter)))
	line("give_up_after", tomlString(FormatDuration(c.Retry.GiveUpAfter)))
	table("auth")
	line("mechanisms", list(c.Auth.Mechanisms))
	line("require_tls", strconv.FormatBool(c.Auth.RequireTLS))
	table("limits")
	line("message_size", tomlString(FormatSize(c.Limits.MessageSize)))
	line("connections", strconv.Itoa(c.Limits.Connections))
	line("connections_per_ip", strconv.Itoa(c.Limits.ConnectionsPerIP))
	line("recipients", strconv.Itoa(c.Limits.Recipients))
	line("auth_failures", strconv.Itoa(c.Limits.AuthFailures))
	line("idle_timeout", tomlString(FormatDuration(c.Limits.IdleTimeout)))
	table("mailbox")
	quota := ""
	if c.Mailbox.Quota > 0 {
		quota = FormatSize(c.Mailbox.Quota)
	}
	line("quota", tomlString(quota))
	line("keep_deleted", tomlString(FormatDuration(c.Mailbox.KeepDeleted)))
	table("log")
	line("level", tomlString(c.Log.Level))
	line("file", tomlString(c.Log.File))
	table("checks")
	for _, k := range c.Checks.Each() {
		line(k.Name, tomlString(string(k.Action)))
	}
	c.showRules(&b)
	for _, i := range c.Doctor.Ignore {
		b.WriteString("\n[[doctor.ignore]]\n")
		line("id", tomlString(i.ID))
		line("subject", tomlString(i.Subject))
		line("reason", tomlString(i.Reason))
		if !i.Until.IsZero() {
			line("until", i.Until.Format(time.DateOnly))
		}
	}
	return b.String()
}

// tomlString quotes s; paths with backslashes stay readable.
func tomlString(s string) string {
	if strings.Contains(s, `\`) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\'' || r == 0x7f }) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

func list[T any](items []T) string {
	var out []string
	for _, i := range items {
		out = append(out, tomlString(fmt.Sprint(i)))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// Example is a commented file to begin with: what `config default` prints.
func Example() string { return example }

// Local tells whether domain, in any case, is one of the local domains.
func (c *Config) Local(domain string) bool {
	return slices.Contains(c.Domains, strings.ToLower(domain))
}

const example = `# mailsrv.toml: settings of mailsrv. What is left out has the value shown,
# except [listen]: in a file only what is named there is on.
# Check it with: mailsrv config check

# The full name of this machine, as other servers see it.
hostname = "mail.example.com"

# Mail, accounts and keys. Relative paths start at this file's folder.
data_dir = "mailsrv-data"

# Domains that mail is received for. "[192.0.2.1]" accepts user@[192.0.2.1].
domains = ["example.com"]

# Started as root (for ports below 1024), the server becomes this user.
user = ""

# Language of bounces and warnings to users: "en" or "ja"; empty: that of the
# system. "mailsrv user lang" sets it for one account.
lang = ""

[listen]                        # "ADDRESS:PORT", ":PORT" for all addresses, several as a list
smtp = ":25"                    # mail from other servers
submission = ":587"             # mail from users, STARTTLS
submissions = ":465"            # mail from users, TLS from the start
pop3 = ":110"                   # mailboxes, STLS
pop3s = ":995"                  # mailboxes, TLS from the start
web = "127.0.0.1:8025"          # /metrics (Prometheus) and /healthz, for whoever may reach it

[tls]                           # PEM files; without them a self-signed certificate is made
cert = ""
key = ""

[dns]
servers = []                    # "192.0.2.53" or "192.0.2.53:53"; empty: the system's

[relay]
allow = true                    # false: receive only
networks = []                   # may relay without a login, such as "192.168.1.0/24"
backup_mx = []                  # domains of others that are taken and passed on to them
pop_before_smtp = "0s"          # how long a POP login lets its address send without one; "0s": never
smart_host = ""                 # "smtp.example.net:587" takes all mail; empty: straight to each domain's mail hosts

# [relay.auth]                  # only when the smart host wants a login
# username = ""
# password_file = ""            # or password = ""

[retry]                         # of what could not be delivered
schedule = ["10m"]              # waits between tries; the last one repeats
warn_after = "4h"               # then the sender is told of the delay; "0s": never
give_up_after = "5d"            # then it goes back to the sender

[auth]
mechanisms = ["PLAIN", "LOGIN", "SCRAM-SHA-256"]
require_tls = true              # on addresses other than loopback

[limits]
message_size = "25MB"
connections = 1000
connections_per_ip = 50         # to each service
recipients = 1000               # of one message
auth_failures = 5               # of one connection
idle_timeout = "5m"             # per command; POP3 waits twice as long (RFC 1939 3)

[mailbox]
quota = ""                      # "1GB": how large each mailbox may become; "mailsrv user quota" sets it for one
keep_deleted = "14d"            # so long deleted mail can be brought back: mailsrv mailbox undelete; "0s": not at all

[checks]                        # of mail from strangers: "reject", "mark" (X-Mailsrv-Mark), "log" or "off"
helo_syntax = "log"             # the HELO name cannot be one
helo_fqdn = "off"               # it is no full name
helo_own = "log"                # it is this server's own
sender_fqdn = "log"             # the sender's domain is no full name
sender_dns = "off"              # it does not exist or takes no mail (asks the DNS)
sender_own = "off"              # it is a local domain, and nobody has logged in
message_id = "off"              # the Message-ID is missing or none
# [[relay.client]], [[relay.route]], [[auth.send_as]], [[rule]] and [[dnsbl]]: see docs/relay.md

[log]
level = "info"                  # debug, info, warn, error
file = ""                       # standard error when empty
`
