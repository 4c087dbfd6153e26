package config

import (
	"fmt"
	"strings"
)

// NamedCheck is one of Checks.
type NamedCheck struct {
	Name   string
	Action Action
}

// Each lists the checks with the names of their settings.
func (c Checks) Each() []NamedCheck {
	return []NamedCheck{
		{"helo_syntax", c.HELOSyntax}, {"helo_fqdn", c.HELOFQDN}, {"helo_own", c.HELOOwn},
		{"sender_fqdn", c.SenderFQDN}, {"sender_dns", c.SenderDNS}, {"sender_own", c.SenderOwn},
		{"message_id", c.MessageID},
	}
}

// showRules writes the tables in double brackets; what is empty is left out.
func (c *Config) showRules(b *strings.Builder) {
	line := func(key, value string) {
		if value != "[]" && value != `""` {
			fmt.Fprintf(b, "%s = %s\n", key, value)
		}
	}
	for _, r := range c.Relay.Clients {
		b.WriteString("\n[[relay.client]]\n")
		line("networks", list(r.Networks))
		line("senders", list(r.Senders))
		line("recipients", list(r.Recipients))
	}
	for _, r := range c.Relay.Routes {
		b.WriteString("\n[[relay.route]]\n")
		line("senders", list(r.Senders))
		fmt.Fprintf(b, "smart_host = %s\n", tomlString(r.SmartHost)) // empty too: straight to the mail hosts
		line("username", tomlString(r.Auth.Username))
		if r.Auth.Password != "" {
			line("password", `"(not shown)"`)
		}
		line("password_file", tomlString(r.Auth.PasswordFile))
	}
	for _, s := range c.Auth.SendAs {
		b.WriteString("\n[[auth.send_as]]\n")
		line("users", list(s.Users))
		line("senders", list(s.Senders))
	}
	for _, r := range c.Rules {
		b.WriteString("\n[[rule]]\n")
		line("name", tomlString(r.Name))
		line("action", tomlString(string(r.Action)))
		line("for", tomlString(r.For))
		line("clients", list(r.Clients))
		line("helo", list(r.HELO))
		line("senders", list(r.Senders))
		line("recipients", list(r.Recipients))
		line("headers", list(r.Headers))
		line("reply", tomlString(r.Reply.String()))
	}
	for _, d := range c.DNSBLs {
		b.WriteString("\n[[dnsbl]]\n")
		line("zone", tomlString(d.Zone))
		line("codes", list(d.Codes))
		line("action", tomlString(string(d.Action)))
		line("reply", tomlString(d.Reply.String()))
	}
}
