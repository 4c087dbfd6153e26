package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"mailsrv/server/config"
)

// check holds mail from strangers against [checks] and [[dnsbl]].
func (p *Policy) check(d *Decision, r *Request) {
	for _, c := range []struct {
		name   string
		action config.Action
		ask    func(p *Policy, r *Request) (why string, refusal *Decision)
	}{
		{"helo_syntax", p.Checks.HELOSyntax, heloSyntax},
		{"helo_fqdn", p.Checks.HELOFQDN, heloFQDN},
		{"helo_own", p.Checks.HELOOwn, heloOwn},
		{"sender_fqdn", p.Checks.SenderFQDN, senderFQDN},
		{"sender_own", p.Checks.SenderOwn, senderOwnDomain},
		{"sender_dns", p.Checks.SenderDNS, senderDNS},
	} {
		if c.action == config.Off || c.action == "" {
			continue
		}
		why, refusal := c.ask(p, r)
		if refusal == nil {
			d.passed("check."+c.name, why)
			continue
		}
		d.found("check."+c.name, why, c.action, refusal)
		if d.Verdict != Accept {
			return
		}
	}
	p.askLists(d, r)
}

func isLiteral(s string) bool { return strings.HasPrefix(s, "[") }

// heloSyntax: RFC 5321 4.1.1.1, a domain name or an address literal.
func heloSyntax(_ *Policy, r *Request) (string, *Decision) {
	if _, err := config.ParseDomain(r.HELO); err != nil {
		return fmt.Sprintf("HELO %s is neither a name nor an address in brackets", r.HELO),
			reject(550, "5.7.1", "HELO name <"+r.HELO+"> is neither a host name nor an address literal")
	}
	return "HELO " + r.HELO + " can be a name", nil
}

func heloFQDN(_ *Policy, r *Request) (string, *Decision) {
	if isLiteral(r.HELO) || strings.Contains(strings.Trim(r.HELO, "."), ".") {
		return "HELO " + r.HELO + " is a full name or an address", nil
	}
	return "HELO " + r.HELO + " is no full name", reject(550, "5.7.1", "HELO name <"+r.HELO+"> is not a full host name such as mail.example.com")
}

// heloOwn finds strangers who introduce themselves as this server. What runs on
// the same machine may.
func heloOwn(p *Policy, r *Request) (string, *Decision) {
	name, err := config.ParseDomain(r.HELO)
	if r.Client.Unmap().IsLoopback() || err != nil || !strings.EqualFold(name, p.Hostname) && p.local(name) == "" {
		return "HELO " + r.HELO + " is not this server's own name", nil
	}
	if addr, err := netip.ParseAddr(strings.TrimPrefix(strings.Trim(name, "[]"), "ipv6:")); err == nil && addr == r.Client.Unmap() {
		return "HELO " + r.HELO + " is the client's own address", nil
	}
	return "HELO " + r.HELO + " is this server's own name", reject(550, "5.7.1", "HELO name <"+r.HELO+"> is this server's own, not yours")
}

// senderFQDN takes the local domains too, of which "localhost" may be one.
func senderFQDN(p *Policy, r *Request) (string, *Decision) {
	domain := r.Sender.Domain
	if r.Sender.IsNull() || isLiteral(domain) || strings.Contains(strings.Trim(domain, "."), ".") || p.local(domain) != "" {
		return "the sender's domain is a full name", nil
	}
	return "the sender's domain " + domain + " is no full name", reject(550, "5.1.7", "Sender domain "+domain+" is not a full name: nobody could answer")
}

func senderOwnDomain(p *Policy, r *Request) (string, *Decision) {
	if p.local(r.Sender.Domain) == "" {
		return "the sender is of no local domain", nil
	}
	return "the sender is of a local domain, but nobody has logged in", reject(550, "5.7.1", "Sender <"+r.Sender.String()+"> is of this server: log in to send with it")
}

// senderDNS: mail to a domain without MX and address cannot be answered (RFC
// 5321 5.1), nor to one with a null MX (RFC 7505). What cannot be found out is
// put off.
func senderDNS(p *Policy, r *Request) (string, *Decision) {
	domain := r.Sender.Domain
	if r.Sender.IsNull() || isLiteral(domain) || p.local(domain) != "" {
		return "the sender's domain needs no look into the DNS", nil
	}
	name, err := config.ParseDomain(domain)
	if err != nil {
		return err.Error(), reject(550, "5.1.8", "Sender domain "+domain+" does not exist")
	}
	switch takes, err := p.dns.takesMail(name); {
	case errors.Is(err, errNullMX):
		return domain + " says that it takes no mail (null MX)", reject(550, "5.7.27", "Sender domain "+domain+" takes no mail (null MX)")
	case err != nil:
		return domain + " cannot be looked up: " + err.Error(), reject(451, "4.4.3", "Sender domain "+domain+" cannot be looked up at present; try again later")
	case !takes:
		return domain + " has neither MX nor address in the DNS", reject(550, "5.1.8", "Sender domain "+domain+" does not exist")
	}
	return domain + " can be answered", nil
}
