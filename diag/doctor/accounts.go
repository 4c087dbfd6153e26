package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/server/account"
	"mailsrv/server/store"
)

func init() {
	register(Check{Name: "accounts", Stage: Local, Limit: 60 * time.Second, Run: needsData("accounts", accounts)})
}

func accounts(ctx context.Context, c *Case) []diag.Finding {
	if c.Accounts == nil {
		return []diag.Finding{nothing} // config.no_domain
	}
	all, damaged, err := c.Accounts.List()
	if err != nil {
		return []diag.Finding{diag.New("account.store_damaged", c.Config.DataDir, diag.Evidence{"file": c.Config.DataDir, "reason": err.Error()})}
	}
	var out []diag.Finding
	for _, d := range damaged {
		ev := diag.Evidence{"file": d.File, "reason": d.Reason}
		if d.Line > 0 {
			ev["line"] = d.Line
		}
		out = append(out, diag.New("account.store_damaged", d.File, ev))
	}
	all = slices.DeleteFunc(all, func(a account.Account) bool { return !a.Expires.IsZero() })
	if len(all) == 0 && len(damaged) == 0 {
		f := diag.New("account.none", "", diag.Evidence{"data_dir": c.Config.DataDir, "started": c.started()})
		if !c.started() {
			f = f.As(diag.Info) // serve makes the first one
		}
		return []diag.Finding{f, nothing}
	}
	required := c.required(all)
	out = append(out, required...)
	out = append(out, slices.DeleteFunc(c.forwards(all), func(f diag.Finding) bool {
		return slices.ContainsFunc(required, func(r diag.Finding) bool { return f.Evidence["target"] == r.Subject })
	})...)
	out = append(out, c.quotas(ctx, all)...)
	out = append(out, c.guessable(ctx, all)...)
	return append(out, c.orphans(all, damaged)...)
}

// started tells whether a server has ever used the data directory.
func (c *Case) started() bool {
	return slices.ContainsFunc([]string{"server.json", "accounts", "mail", "queue"}, func(name string) bool {
		_, err := os.Stat(filepath.Join(c.Config.DataDir, name))
		return err == nil
	})
}

// required looks for the addresses that every domain must have.
func (c *Case) required(all []account.Account) []diag.Finding {
	var out []diag.Finding
	for _, domain := range c.Config.Domains {
		if bareAddress(domain) {
			continue // domain.bare_address
		}
		has := func(name string) bool {
			_, err := c.Accounts.Resolve(name, domain) // a catch-all takes it too
			return !errors.Is(err, account.ErrNotFound)
		}
		to := c.roleTarget(all, domain)
		if !has("postmaster") {
			out = append(out, diag.New("account.no_postmaster", "postmaster@"+domain, diag.Evidence{"domain": domain, "to": to}))
		}
		// RFC 2142 asks for abuse where there is an organisation on the
		// internet, not at localhost or an address.
		if needsDNS(domain) && !has("abuse") {
			out = append(out, diag.New("account.no_abuse", "abuse@"+domain, diag.Evidence{"domain": domain, "to": to}))
		}
	}
	return out
}

// roleTarget is the account that a missing role address would best lead to: the
// postmaster, or the only account there is.
func (c *Case) roleTarget(all []account.Account, domain string) string {
	for _, d := range append([]string{domain}, c.Config.Domains...) {
		if a, err := c.Accounts.Lookup("postmaster", d); err == nil {
			return a.Address()
		}
	}
	var boxes []account.Account
	for _, a := range all {
		if a.Mailbox {
			boxes = append(boxes, a)
		}
	}
	if len(boxes) == 1 {
		return boxes[0].Address()
	}
	return ""
}

// forwards follows every forward to its end.
func (c *Case) forwards(all []account.Account) []diag.Finding {
	var out []diag.Finding
	for _, a := range all {
		if len(a.Forward) == 0 {
			continue
		}
		if circle := c.circle(a.Address()); circle != nil {
			if slices.Min(circle) == a.Address() { // each circle once
				out = append(out, diag.New("account.forward_loop", a.Address(), diag.Evidence{"circle": append(circle, a.Address())}))
			}
			continue
		}
		for _, target := range a.Forward {
			name, domain, _ := account.SplitAddress(target)
			if _, err := c.Accounts.Resolve(name, domain); errors.Is(err, account.ErrNotFound) && c.Config.Local(domain) {
				out = append(out, diag.New("account.forward_dead", a.Address(), diag.Evidence{"from": a.Address(), "target": target}))
			}
		}
	}
	return out
}

// circle returns the addresses on the way from address back to itself, or nil.
func (c *Case) circle(address string) []string {
	visited := map[string]bool{}
	var walk func(at string) []string
	walk = func(at string) []string {
		name, domain, _ := account.SplitAddress(at)
		a, err := c.Accounts.Lookup(name, domain)
		if err != nil || visited[at] {
			return nil
		}
		visited[at] = true
		for _, target := range a.Forward {
			target = strings.ToLower(target)
			if target == address {
				return []string{at}
			}
			if rest := walk(target); rest != nil {
				return append([]string{at}, rest...)
			}
		}
		return nil
	}
	return walk(address)
}

// guessTime is how long passwords are tried when all checks run; with accounts
// named, all accounts are. A try takes some 7 ms of one core.
const guessTime = time.Second

// guessable tries the passwords that strangers try first: the name, the domain,
// none at all.
func (c *Case) guessable(ctx context.Context, all []account.Account) []diag.Finding {
	if !slices.Contains(c.Only, "accounts") {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, guessTime)
		defer cancel()
	}
	what := make([]string, len(all))
	next := make(chan int, len(all))
	for i := range all {
		next <- i
	}
	close(next)
	parallel(runtime.GOMAXPROCS(0), func(int) {
		for ctx.Err() == nil {
			i, more := <-next
			if !more {
				return
			}
			what[i] = c.guess(all[i])
		}
	})
	c.untried = len(next)
	var out []diag.Finding
	for i, a := range all {
		if what[i] != "" {
			out = append(out, diag.New("account.password_guessable", a.Address(), diag.Evidence{"user": a.Address(), "password": what[i]}))
		}
	}
	return out
}

// guess says which of the usual passwords is an account's; it is not shown
// itself.
func (c *Case) guess(a account.Account) string {
	if !a.Mailbox {
		return ""
	}
	v, _, err := c.Accounts.Verifier(a.Address())
	if err != nil {
		return ""
	}
	for _, try := range [][2]string{{"empty", ""}, {"name", a.Name}, {"address", a.Address()}, {"domain", a.Domain}} {
		if v.Check(try[1]) {
			return try[0]
		}
	}
	return ""
}

// orphans are mailboxes with mail that no account belongs to.
func (c *Case) orphans(all []account.Account, damaged []*account.DamagedError) []diag.Finding {
	known := map[string]bool{}
	for _, a := range all {
		known[store.Dir(c.Config.DataDir, store.Box{Name: a.Name, Domain: a.Domain})] = true
	}
	if len(damaged) > 0 {
		return nil // whose mailboxes they are is not known
	}
	var out []diag.Finding
	root := filepath.Join(c.Config.DataDir, "mail")
	for _, domain := range list(root) {
		for _, user := range list(filepath.Join(root, domain)) {
			dir := filepath.Join(root, domain, user)
			if known[dir] || strings.HasPrefix(user, "loop-") {
				continue
			}
			if n := len(list(filepath.Join(dir, "Maildir", "new"))) + len(list(filepath.Join(dir, "Maildir", "cur"))); n > 0 {
				out = append(out, diag.New("account.orphan_mailbox", user+"@"+domain, diag.Evidence{"path": dir, "messages": n}))
			}
		}
	}
	return out
}

// list returns the names in a folder; one that cannot be read has none.
func list(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
