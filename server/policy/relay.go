package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mailsrv/server/account"
	"mailsrv/server/config"
)

var recipientRules = []rule{
	{"recipient.local", recipientLocal},
	{"user.authenticated", userAuthenticated},
	{"network.trusted", networkTrusted},
	{"pop.before_smtp", popBeforeSMTP},
	{"relay.backup_mx", backupMX},
	{"relay.client", relayClient},
	{"relay.denied", relayDenied},
}

func recipientLocal(p *Policy, r *Request) (bool, string, *Decision) {
	switch {
	case r.Recipient.Domain != "":
	case strings.EqualFold(r.Recipient.Local, "postmaster"): // RFC 5321 4.5.1
		r.Recipient.Domain = p.mainDomain()
	case r.User != "":
		r.Recipient.Domain = r.userDomain()
	}
	to := r.Recipient
	domain := p.local(to.Domain)
	switch {
	case to.Domain == "":
		return false, "no domain", reject(550, "5.1.3", "Recipient address needs a domain: <"+to.String()+"@example.com>")
	case domain == "":
		return false, to.Domain + " is not one of the local domains: " + strings.Join(p.Accounts.Domains(), ", "), nil
	}
	route, err := p.Accounts.Resolve(to.Local, domain)
	switch {
	case errors.Is(err, account.ErrNotFound):
		// "victim%elsewhere@here" and "elsewhere!victim@here" end here too:
		// no account can have such a name, and nothing reads them further.
		why := to.Local + "@" + domain + " has no account"
		if strings.ContainsAny(to.Local, "%!@") {
			why += "; addresses that ask to be passed on are never followed"
		}
		d := noSuchUser(r)
		d.Unknown = true
		return true, why, d
	case err != nil:
		return true, err.Error(), accountFault(err)
	}
	if !p.Relay && len(route.Remote) > 0 {
		// Receive only is receive only, for forwards too.
		if len(route.Boxes) == 0 {
			dead := &account.ForwardError{From: route.Remote[0].Via, Target: route.Remote[0].To}
			return true, dead.From + " is forwarded to " + dead.Target + ", but relay.allow is false", accountFault(dead)
		}
		route.Remote = nil
	}
	if why, full := p.full(r, route); full != nil {
		full.Rule = "mailbox.full"
		return true, where(route) + "; " + why, full
	}
	d := accept("2.1.5", "Recipient ok")
	d.Boxes, d.Forwards = route.Boxes, route.Remote
	return true, where(route), d
}

func noSuchUser(r *Request) *Decision {
	return reject(550, "5.1.1", "<"+r.Recipient.String()+">: no such user here")
}

// full refuses where no mailbox has room. A message that could never fit is
// refused for good, another may come again: its owner may have made room. Of
// several mailboxes a full one takes the message nevertheless, for the sender
// can be told nothing that is true of all.
func (p *Policy) full(r *Request, route account.Route) (why string, d *Decision) {
	if p.Rooms == nil || len(route.Boxes) == 0 || len(route.Remote) > 0 {
		return "", nil
	}
	never := true
	for _, a := range route.Boxes {
		room, limited, err := p.Rooms.Room(a)
		if err != nil || !limited || room > 0 && room >= r.Size {
			return "", nil
		}
		never = never && r.Size > p.Rooms.Limit(a)
	}
	if never {
		return "the message is larger than the whole mailbox may be", reject(552, "5.2.2", "Message is larger than the mailbox of <"+r.Recipient.String()+"> may become")
	}
	return "the mailbox is full", reject(452, "4.2.2", "Mailbox of <"+r.Recipient.String()+"> is full; try again later")
}

// where says in words where mail goes.
func where(route account.Route) string {
	var boxes, remote, parts []string
	for _, a := range route.Boxes {
		boxes = append(boxes, a.Address())
	}
	for _, r := range route.Remote {
		remote = append(remote, r.To)
	}
	if len(boxes) > 0 {
		parts = append(parts, "goes to the mailbox of "+strings.Join(boxes, " and "))
	}
	if len(remote) > 0 {
		parts = append(parts, "is sent on to "+strings.Join(remote, " and "))
	}
	return strings.Join(parts, ", and ")
}

// accountFault is the reply when accounts cannot be read or are set up wrongly:
// the mail may come again when that is repaired.
func accountFault(err error) *Decision {
	var f *account.ForwardError
	if errors.As(err, &f) {
		return reject(451, "4.3.5", "Mail for this address is forwarded to nowhere; the administrator must repair it")
	}
	return reject(451, "4.3.0", "Account data cannot be read; try again later")
}

func userAuthenticated(p *Policy, r *Request) (bool, string, *Decision) {
	if r.User == "" {
		return false, "not logged in", nil
	}
	return true, "logged in as " + r.User, p.elsewhere()
}

func networkTrusted(p *Policy, r *Request) (bool, string, *Decision) {
	if n, ok := contains(p.Networks, r.Client); ok {
		return true, fmt.Sprintf("%s is in %s of relay.networks", r.Client.Unmap(), n), p.elsewhere()
	}
	return false, fmt.Sprintf("%s is not in relay.networks", r.Client.Unmap()), nil
}

func popBeforeSMTP(p *Policy, r *Request) (bool, string, *Decision) {
	if p.Passes == nil {
		return false, "relay.pop_before_smtp is off", nil
	}
	pass, ok := p.Passes.Open(r.Client)
	if !ok {
		return false, fmt.Sprintf("nobody has fetched mail from %s within %s", r.Client.Unmap(), config.FormatDuration(p.Passes.window)), nil
	}
	name, domain, _ := account.SplitAddress(pass.User)
	if _, err := p.Accounts.Lookup(name, domain); err != nil {
		return false, fmt.Sprintf("%s has fetched mail from %s, but is no account any more", pass.User, r.Client.Unmap()), nil
	}
	return true, fmt.Sprintf("%s has fetched mail from %s; open until %s", pass.User, r.Client.Unmap(), pass.Until.UTC().Format(time.RFC3339)), p.elsewhere()
}

func backupMX(p *Policy, r *Request) (bool, string, *Decision) {
	pattern := matching(p.BackupMX, r.Recipient)
	switch {
	case len(p.BackupMX) == 0:
		return false, "relay.backup_mx is empty", nil
	case pattern == "":
		return false, r.Recipient.Domain + " is not in relay.backup_mx", nil
	case strings.ContainsAny(r.Recipient.Local, "%!@"):
		// The domain's own mail host may trust this server and follow it.
		return true, pattern + " of relay.backup_mx, but the address asks to be passed on from there", reject(550, "5.7.1", "Addresses that ask to be passed on are not taken")
	}
	return true, "passed on to the mail hosts of " + r.Recipient.Domain + " (relay.backup_mx)", p.elsewhere()
}

func relayClient(p *Policy, r *Request) (bool, string, *Decision) {
	if len(p.Clients) == 0 {
		return false, "there is no [[relay.client]]", nil
	}
	why := fmt.Sprintf("%s is in no [[relay.client]]", r.Client.Unmap())
	for _, c := range p.Clients {
		n, ok := contains(c.Networks, r.Client)
		switch {
		case !ok:
			continue
		case len(c.Senders) > 0 && matching(c.Senders, r.Sender) == "":
			why = fmt.Sprintf("%s is in %s of a [[relay.client]] that does not take the sender <%s>", r.Client.Unmap(), n, r.Sender)
			continue
		case len(c.Recipients) > 0 && matching(c.Recipients, r.Recipient) == "":
			why = fmt.Sprintf("%s is in %s of a [[relay.client]] that does not take the recipient", r.Client.Unmap(), n)
			continue
		}
		return true, fmt.Sprintf("%s is in %s of [[relay.client]]", r.Client.Unmap(), n), p.elsewhere()
	}
	return false, why, nil
}

// elsewhere answers those who may relay.
func (p *Policy) elsewhere() *Decision {
	if !p.Relay {
		d := reject(550, "5.7.1", "This server only receives mail (relay.allow is false)")
		d.Rule = "relay.off"
		return d
	}
	d := accept("2.1.5", "Recipient ok")
	d.Out = true
	return d
}

func relayDenied(_ *Policy, r *Request) (bool, string, *Decision) {
	return true, "neither the recipient is local nor may the client relay",
		reject(550, "5.7.1", "User not local. Authentication required for relay")
}
