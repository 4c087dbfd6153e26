package account

import (
	"errors"
	"slices"
	"strings"
)

// maxForwards bounds how long a chain of forwards may be.
const maxForwards = 10

// Resolve implements Directory. A dead target or a circle does not keep the
// mail from the other targets.
func (d *Files) Resolve(name, domain string) (Route, error) {
	w := way{d: d}
	w.follow(strings.ToLower(name), strings.ToLower(domain), nil)
	if len(w.route.Boxes) > 0 || len(w.route.Remote) > 0 {
		return w.route, nil
	}
	return Route{}, w.err
}

// way is a walk along forwards.
type way struct {
	d     *Files
	route Route
	err   error // the first
}

func (w *way) failed(err error) {
	if w.err == nil {
		w.err = err
	}
}

// follow walks on from an address; path holds the addresses that led to it.
func (w *way) follow(name, domain string, path []string) {
	address := name + "@" + domain
	path = append(path, address)
	if i := slices.Index(path, address); i < len(path)-1 || len(path) > maxForwards {
		w.failed(&ForwardError{From: path[0], Target: address, Loop: slices.Clone(path[max(i, 0):])})
		return
	}
	if slices.Contains(w.route.Through, address) {
		return // reached twice, in no circle
	}
	w.route.Through = append(w.route.Through, address)
	a, err := w.d.Lookup(name, domain)
	if errors.Is(err, ErrNotFound) && catchable(name) {
		if _, anyErr := w.d.Lookup(CatchAll, domain); !errors.Is(anyErr, ErrNotFound) {
			w.follow(CatchAll, domain, path)
			return
		}
	}
	switch {
	case errors.Is(err, ErrNotFound) && len(path) > 1:
		w.failed(&ForwardError{From: path[len(path)-2], Target: address})
		return
	case err != nil:
		w.failed(err)
		return
	}
	if a.takes() && !slices.ContainsFunc(w.route.Boxes, func(b Account) bool { return a.Address() == b.Address() }) {
		w.route.Boxes = append(w.route.Boxes, a)
	}
	for _, target := range a.Forward {
		name, domain, _ := SplitAddress(target)
		if w.d.local(domain) {
			w.follow(strings.ToLower(name), domain, path)
		} else if !slices.ContainsFunc(w.route.Remote, func(r Remote) bool { return r.To == target }) {
			w.route.Remote = append(w.route.Remote, Remote{To: target, Via: a.Address()})
		}
	}
}

// catchable tells whether a catch-all takes mail for a name. One that asks to
// be passed on, "victim%elsewhere", is nobody's.
func catchable(name string) bool { return name != CatchAll && !strings.ContainsAny(name, "%!@") }

// circle names the way on which a's forwards would lead back to it, or nil.
func (d *Files) circle(a Account) []string {
	visited := map[string]bool{}
	var back func(targets []string) []string
	back = func(targets []string) []string {
		for _, target := range targets {
			if target == a.Address() {
				return []string{target}
			}
			if visited[target] {
				continue
			}
			visited[target] = true
			name, domain, _ := SplitAddress(target)
			next, err := d.Lookup(name, domain)
			if errors.Is(err, ErrNotFound) && catchable(name) && d.local(domain) {
				if a.Name == CatchAll && a.Domain == domain {
					return []string{target, a.Address()}
				}
				next, err = d.Lookup(CatchAll, domain)
			}
			if err != nil {
				continue
			}
			if rest := back(next.Forward); rest != nil {
				return append([]string{target}, rest...)
			}
		}
		return nil
	}
	if rest := back(a.Forward); rest != nil {
		return append([]string{a.Address()}, rest...)
	}
	return nil
}
