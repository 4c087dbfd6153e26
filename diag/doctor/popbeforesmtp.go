package doctor

import (
	"net/netip"
	"slices"
	"time"

	"mailsrv/diag"
	"mailsrv/server/config"
)

// sendTime is how long fetching mail and then sending one message takes, with
// a large attachment on a slow line: a window must not be shorter.
const sendTime = time.Minute

// popBeforeSMTP judges the right to send that a POP login gives to an address.
func (c *Case) popBeforeSMTP() []diag.Finding {
	window := c.Config.Relay.PopBeforeSMTP
	if window == 0 {
		return nil
	}
	ev := diag.Evidence{"window": config.FormatDuration(window)}
	if why, networks := c.popWithoutEffect(); why != "" {
		ev["why"] = why
		if networks != nil {
			ev["networks"] = networks
		}
		return []diag.Finding{diag.New("auth.pop_before_smtp_no_effect", "relay.pop_before_smtp", ev)}
	}
	return []diag.Finding{diag.New("auth.pop_before_smtp", "relay.pop_before_smtp", ev)}
}

// popWithoutEffect says why a POP login opens nothing, or is empty. The most
// basic reason comes first.
func (c *Case) popWithoutEffect() (why string, networks []string) {
	_, pop := c.listener(config.POP3, config.POP3S)
	_, smtp := c.listener(config.SMTP)
	switch {
	case !c.Config.Relay.Allow:
		return "relay-off", nil
	case !pop:
		return "no-pop3", nil
	case !smtp:
		return "no-smtp", nil // submission wants a login in any case, RFC 6409 4.3
	case c.Config.Relay.PopBeforeSMTP < sendTime:
		return "window", nil
	}
	if networks = c.exempt(); len(networks) > 0 {
		return "exempt", networks
	}
	return "", nil
}

// exempt are the trusted networks that all who fetch mail sit in, as far as that
// can be known: a listener on one private address is for its network. Of one on
// every address nobody knows who comes, and of loopback and networks as wide as
// the internet other findings speak.
func (c *Case) exempt() []string {
	var out []string
	for _, l := range c.Config.Listen {
		if l.Service != config.POP3 && l.Service != config.POP3S {
			continue
		}
		i := slices.IndexFunc(c.Config.Relay.Networks, func(n netip.Prefix) bool {
			return isPrivate(n) && !n.IsSingleIP() && n.Contains(l.IP())
		})
		if i < 0 {
			return nil
		}
		out = append(out, c.Config.Relay.Networks[i].String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}
