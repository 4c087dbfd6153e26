package checkmx

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

// Limits of how far a foreign SPF tree is followed.
const (
	maxSPFDepth = 12
	maxSPFAsked = 100 // look-ups; further terms are counted, but not followed
	maxSPFHosts = 10  // of an mx term, RFC 7208 section 4.6.4
)

// SPFNode is one SPF record of the tree that a domain's record spans.
type SPFNode struct {
	Domain  string
	Answer  *dns.Answer // TXT
	Texts   []string    // the SPF records there
	Near    string      // what was meant as one, but is none
	Record  *record.SPF // nil when there is not exactly one, or it does not parse
	Bad     *record.SyntaxError
	Loop    bool // the record is one of those that lead to it
	Cut     bool // not followed: the tree is too large
	Terms   []*SPFTerm
	Lookups int // the look-ups of all its terms and what they include
	Void    int // those without an answer
}

// SPFTerm is one term of a record, and what DNS says about it.
type SPFTerm struct {
	record.Term
	Counts   bool // costs a look-up
	Lookups  int  // with all it includes
	Void     bool
	Unasked  bool           // the tree is too large to follow it all
	Failed   dns.Outcome    // the look-up that could not be had
	Prefixes []netip.Prefix // what it matches
	Child    *SPFNode       // of include and redirect
}

// spfWalk follows one domain's tree, level by level: which terms of a tree too
// large are asked does not depend on who answers first.
type spfWalk struct {
	c     *Checker
	asked int
}

// spfStep is a term whose look-ups are to be made.
type spfStep struct {
	n    *SPFNode
	t    *SPFTerm
	path []string // the domains that lead to it, its own record's last
}

// collectSPF reads the whole tree of the domain's SPF record,
// also what lies beyond the limits of RFC 7208.
func (c *Checker) collectSPF(ctx context.Context, f *Facts) {
	w := &spfWalk{c: c}
	f.SPF = w.node(ctx, f.Domain)
	for level := w.open(f.SPF, nil); len(level) > 0; {
		var wg sync.WaitGroup
		for _, s := range level {
			wg.Go(func() { w.term(ctx, s) })
		}
		wg.Wait()
		var next []spfStep
		for _, s := range level {
			if s.t.Child != nil {
				next = append(next, w.open(s.t.Child, s.path)...)
			}
		}
		level = next
	}
	f.SPF.count()
}

// node reads the record of one domain.
func (w *spfWalk) node(ctx context.Context, domain string) *SPFNode {
	n := &SPFNode{Domain: domain, Answer: w.c.lookup.Lookup(ctx, domain, dns.TXT)}
	for _, r := range n.Answer.Records {
		switch {
		case record.IsSPF(r.Text):
			n.Texts = append(n.Texts, r.Text)
		case record.LooksLikeSPF(r.Text):
			n.Near = r.Text
		}
	}
	text := n.Near
	if len(n.Texts) == 1 {
		text = n.Texts[0]
	}
	if len(n.Texts) > 1 || text == "" {
		return n
	}
	var err error
	if n.Record, err = record.ParseSPF(text); err != nil {
		errors.As(err, &n.Bad)
		n.Record = nil
	}
	return n
}

// open lists the terms in effect (those after "all" are not), and returns those
// that name something to look up.
func (w *spfWalk) open(n *SPFNode, above []string) []spfStep {
	if n.Record == nil {
		return nil
	}
	path := append(slices.Clone(above), n.Domain)
	ignored := n.Record.Ignored()
	var out []spfStep
	for _, t := range n.Record.Terms {
		if slices.ContainsFunc(ignored, func(i record.Term) bool { return i.Text == t.Text }) {
			continue
		}
		st := &SPFTerm{Term: t, Counts: slices.Contains(costly, t.Name)}
		n.Terms = append(n.Terms, st)
		includes := t.Name == "include" || t.Name == "redirect"
		switch {
		case t.Prefix.IsValid():
			st.Prefixes = []netip.Prefix{t.Prefix}
		case !st.Counts, t.Macro, t.Name == "ptr":
		case includes && slices.Contains(path, t.Domain):
			st.Child = &SPFNode{Domain: t.Domain, Loop: true}
		case includes && len(path) > maxSPFDepth:
			st.Child = &SPFNode{Domain: t.Domain, Cut: true}
		case w.asked == maxSPFAsked:
			st.Unasked = true
		default:
			w.asked++
			out = append(out, spfStep{n, st, path})
		}
	}
	slices.SortStableFunc(n.Terms, func(a, b *SPFTerm) int { return cmp.Compare(order(a), order(b)) })
	return out
}

// count adds up the look-ups of a tree.
func (n *SPFNode) count() {
	for _, t := range n.Terms {
		if t.Counts {
			t.Lookups++
		}
		if t.Void {
			n.Void++
		}
		if t.Child != nil {
			t.Child.count()
			t.Lookups += t.Child.Lookups
			n.Void += t.Child.Void
		}
		n.Lookups += t.Lookups
	}
}

// order puts a redirect last, which is when it counts, wherever it stands.
func order(t *SPFTerm) int {
	if t.Name == "redirect" {
		return 1
	}
	return 0
}

func (w *spfWalk) term(ctx context.Context, s spfStep) {
	t := s.t
	target := cmp.Or(t.Domain, s.n.Domain)
	switch t.Name {
	case "include", "redirect":
		t.Child = w.node(ctx, target)
		switch o := t.Child.Answer; {
		case !o.Outcome.Found():
			t.Failed = o.Outcome
		case o.Outcome != dns.Answered:
			t.Void = true
		}
	case "a":
		t.Void, t.Failed = w.addresses(ctx, t, target)
	case "mx":
		w.mailHosts(ctx, t, target)
	case "exists":
		t.Void, t.Failed = void(w.c.lookup.Lookup(ctx, target, dns.A))
	}
}

// costly are the terms that cost a look-up, RFC 7208 section 4.6.4.
var costly = []string{"include", "redirect", "a", "mx", "exists", "ptr"}

func void(a *dns.Answer) (empty bool, failed dns.Outcome) {
	if !a.Outcome.Found() {
		return false, a.Outcome
	}
	return a.Outcome != dns.Answered, ""
}

// addresses notes the ranges around a name's addresses.
func (w *spfWalk) addresses(ctx context.Context, t *SPFTerm, name string) (empty bool, failed dns.Outcome) {
	h := &Host{Name: name}
	w.c.resolve(ctx, h)
	for _, a := range h.Addrs {
		bits := t.Bits4
		if a.IP.Is6() {
			bits = t.Bits6
		}
		if p, err := a.IP.Prefix(bits); err == nil {
			t.Prefixes = append(t.Prefixes, p)
		}
	}
	if !h.resolved() {
		return false, lost(h.A, h.AAAA).Outcome
	}
	return len(h.Addrs) == 0, ""
}

func (w *spfWalk) mailHosts(ctx context.Context, t *SPFTerm, name string) {
	mx := w.c.lookup.Lookup(ctx, name, dns.MX)
	t.Void, t.Failed = void(mx)
	for i, r := range mx.Records {
		if i == maxSPFHosts {
			break
		}
		if r.Host != "." {
			if _, failed := w.addresses(ctx, t, r.Host); failed != "" {
				t.Failed = failed
			}
		}
	}
}
