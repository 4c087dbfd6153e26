package doctor

import (
	"context"

	"mailsrv/diag"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

// nearTenths is how full, in tenths, a mailbox is when it soon takes nothing
// more: the server tells its owner then, too.
const nearTenths = 9

// quotas looks for mailboxes that take no more mail, or soon will not.
func (c *Case) quotas(ctx context.Context, all []account.Account) []diag.Finding {
	var out []diag.Finding
	for _, a := range all {
		if ctx.Err() != nil {
			break // the frame says that time was up
		}
		limit := a.Limit(c.Config.Mailbox.Quota)
		if limit == 0 || !a.Mailbox || len(a.Forward) > 0 && !a.Keep {
			continue
		}
		used, err := store.Octets(c.Config.DataDir, store.Box{Name: a.Name, Domain: a.Domain})
		if err != nil {
			out = append(out, diag.New("account.quota_unknown", a.Address(), diag.Evidence{"user": a.Address(), "quota": limit, "reason": reason(err)}))
			continue
		}
		id := ""
		switch {
		case used >= limit:
			id = "account.quota_full"
		case used >= limit/10*nearTenths:
			id = "account.quota_near"
		default:
			continue
		}
		ev := diag.Evidence{"user": a.Address(), "octets": used, "quota": limit, "own": a.Quota != 0}
		f := diag.New(id, a.Address(), ev).With("percent", int64(float64(used)/float64(limit)*100))
		out = append(out, f.With("quota_text", config.FormatSize(limit)).With("larger", config.FormatSize(2*limit)))
	}
	return out
}
