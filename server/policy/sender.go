package policy

import (
	"errors"
	"slices"
	"strings"

	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
)

var senderRules = []rule{
	{"submission.login", submissionLogin},
	{"sender.domain", senderDomain},
	{"sender.own", senderOwn},
}

// submissionLogin: RFC 6409 4.3.
func submissionLogin(_ *Policy, r *Request) (bool, string, *Decision) {
	switch {
	case r.Listener != config.Submission && r.Listener != config.Submissions:
		return false, "listener " + r.Listener + " takes mail from other servers too", nil
	case r.User != "":
		return false, "logged in as " + r.User, nil
	}
	return true, "listener " + r.Listener + " is for users who log in", reject(530, "5.7.0", "Authentication required")
}

// senderDomain completes or refuses a sender without a domain.
func senderDomain(_ *Policy, r *Request) (bool, string, *Decision) {
	switch {
	case r.Sender.IsNull():
		return false, "the null sender of bounces", nil
	case r.Sender.Domain != "":
		return false, "the sender has a domain", nil
	case r.User != "":
		r.Sender.Domain = r.userDomain()
		return true, "completed to " + r.Sender.String(), nil
	}
	return true, "a sender from outside needs a domain", reject(553, "5.1.7", "Sender address needs a domain: <user@example.com>")
}

// senderOwn keeps users from sending in the name of others.
func senderOwn(p *Policy, r *Request) (bool, string, *Decision) {
	switch {
	case r.User == "":
		return false, "not logged in", nil
	case r.Sender.IsNull():
		return true, "anybody may send a bounce or a receipt", nil
	}
	if domain := p.local(r.Sender.Domain); domain != "" {
		own := strings.ToLower(r.Sender.Local) + "@" + domain
		route, err := p.Accounts.Resolve(r.Sender.Local, domain)
		if own == r.User || err == nil && slices.Contains(route.Through, r.User) {
			return true, r.Sender.String() + " is an address of " + r.User, nil
		}
		var dead *account.ForwardError
		if err != nil && !errors.Is(err, account.ErrNotFound) && !errors.As(err, &dead) {
			return false, err.Error(), accountFault(err)
		}
	}
	user, _ := address.Parse(r.User)
	for _, s := range p.SendAs {
		if matching(s.Users, user) != "" && matching(s.Senders, r.Sender) != "" {
			return true, "auth.send_as lets " + r.User + " send as " + matching(s.Senders, r.Sender), nil
		}
	}
	return false, r.Sender.String() + " is no address of " + r.User,
		reject(553, "5.7.1", "<"+r.Sender.String()+"> is not an address of "+r.User+", who is logged in")
}
