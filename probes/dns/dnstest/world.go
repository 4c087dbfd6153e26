package dnstest

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// world is a parsed script.
type world struct {
	records map[string][]mdns.RR // by lower-case owner
	exists  map[string]bool      // owners and the names above them
	rules   []rule
	zones   []string // !authoritative
}

// rule is how to behave at a name.
type rule struct {
	name   string // absolute; with a leading dot also below
	qtype  string // empty: any
	act    string
	delay  time.Duration
	addr   net.IP // invent
	bogus  bool
	signed bool
}

func parse(script string) (*world, error) {
	w := &world{records: map[string][]mdns.RR{}, exists: map[string]bool{}}
	var zone strings.Builder
	zone.WriteString("$TTL 3600\n")
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "!"); ok {
			if err := w.behave(strings.Fields(rest)); err != nil {
				return nil, fmt.Errorf("dnstest: %q: %w", line, err)
			}
			line = "" // keep line numbers for the zone parser
		}
		zone.WriteString(line + "\n")
	}
	zp := mdns.NewZoneParser(strings.NewReader(zone.String()), ".", "script")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		name := strings.ToLower(rr.Header().Name)
		w.records[name] = append(w.records[name], rr)
		for at := name; ; {
			w.exists[at] = true
			i, end := mdns.NextLabel(at, 0)
			if end {
				break
			}
			at = at[i:]
		}
	}
	if err := zp.Err(); err != nil {
		return nil, fmt.Errorf("dnstest: %w", err)
	}
	return w, nil
}

func (w *world) behave(f []string) error {
	if len(f) < 2 {
		return fmt.Errorf("want an action and a name")
	}
	r := rule{}
	switch act := f[0]; act {
	case "delay":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			return err
		}
		r.delay = d
		f = f[1:]
	case "invent":
		if r.act, r.addr = act, net.ParseIP(f[1]).To4(); r.addr == nil {
			return fmt.Errorf("%q is no IPv4 address", f[1])
		}
		f = f[1:]
	case "bogus":
		r.bogus = true
	case "signed":
		r.signed = true
	case "authoritative":
		w.zones = append(w.zones, strings.ToLower(mdns.Fqdn(f[1])))
		return nil
	case "servfail", "refuse", "nxdomain", "formerr", "silent", "garbage", "truncate", "cut":
		r.act = act
	default:
		return fmt.Errorf("unknown action %q", act)
	}
	if len(f) < 2 || len(f) > 3 {
		return fmt.Errorf("want a name and at most a type")
	}
	r.name = strings.ToLower(mdns.Fqdn(f[1]))
	if r.name == "." || r.bogus || r.signed {
		r.name = "." + strings.TrimPrefix(r.name, ".")
	}
	if len(f) == 3 {
		r.qtype = strings.ToUpper(f[2])
	}
	w.rules = append(w.rules, r)
	return nil
}

// rule merges what the script says about a question; the last action wins.
func (w *world) rule(q mdns.Question) rule {
	var out rule
	name := strings.ToLower(q.Name)
	for _, r := range w.rules {
		if r.qtype != "" && r.qtype != mdns.TypeToString[q.Qtype] {
			continue
		}
		if r.name != name && !(r.name[0] == '.' && (r.name == "." || "."+name == r.name || strings.HasSuffix(name, r.name))) {
			continue
		}
		out.delay += r.delay
		out.bogus = out.bogus || r.bogus
		out.signed = out.signed || r.signed
		if r.act != "" {
			out.act, out.addr = r.act, r.addr
		}
	}
	return out
}

func (w *world) answer(reply *mdns.Msg, q mdns.Question) {
	if len(w.zones) > 0 {
		w.authoritative(reply, q)
		return
	}
	reply.RecursionAvailable = true
	w.follow(reply, q, strings.ToLower(q.Name))
}

// follow adds the answer at name, through CNAMEs.
func (w *world) follow(reply *mdns.Msg, q mdns.Question, name string) {
	for range 12 {
		rrs, found := w.at(name)
		if !found {
			reply.Rcode = mdns.RcodeNameError
			w.soa(reply, name)
			return
		}
		var alias *mdns.CNAME
		n := 0
		for _, rr := range rrs {
			if c, ok := rr.(*mdns.CNAME); ok {
				alias = c
			}
			if rr.Header().Rrtype == q.Qtype {
				reply.Answer = append(reply.Answer, rr)
				n++
			}
		}
		if alias == nil || n > 0 {
			if n == 0 {
				w.soa(reply, name)
			}
			return
		}
		reply.Answer = append(reply.Answer, alias)
		name = strings.ToLower(alias.Target)
		if len(w.zones) > 0 && !w.ours(name) {
			return
		}
	}
}

// at returns the records at a name, made from a wildcard if need be.
func (w *world) at(name string) ([]mdns.RR, bool) {
	if w.exists[name] {
		return w.records[name], true
	}
	for at := name; ; {
		i, end := mdns.NextLabel(at, 0)
		if end {
			return nil, false
		}
		at = at[i:]
		if rrs := w.records["*."+at]; rrs != nil {
			var out []mdns.RR
			for _, rr := range rrs {
				rr = mdns.Copy(rr)
				rr.Header().Name = name
				out = append(out, rr)
			}
			return out, true
		}
		if w.exists[at] { // the closest encloser has no wildcard
			return nil, false
		}
	}
}

func (w *world) soa(reply *mdns.Msg, name string) {
	for at := name; ; {
		for _, rr := range w.records[at] {
			if rr.Header().Rrtype == mdns.TypeSOA {
				reply.Ns = append(reply.Ns, rr)
				return
			}
		}
		i, end := mdns.NextLabel(at, 0)
		if end {
			return
		}
		at = at[i:]
	}
}

func (w *world) ours(name string) bool {
	return slices.ContainsFunc(w.zones, func(z string) bool { return mdns.IsSubDomain(z, name) })
}

// authoritative answers for the script's zones: referral below a cut, REFUSED
// for what is not ours.
func (w *world) authoritative(reply *mdns.Msg, q mdns.Question) {
	name := strings.ToLower(q.Name)
	if !w.ours(name) {
		reply.Rcode = mdns.RcodeRefused
		return
	}
	if cut := w.cut(name, q.Qtype); cut != "" {
		for _, rr := range w.records[cut] {
			if ns, ok := rr.(*mdns.NS); ok {
				reply.Ns = append(reply.Ns, rr)
				for _, glue := range w.records[strings.ToLower(ns.Ns)] {
					if t := glue.Header().Rrtype; t == mdns.TypeA || t == mdns.TypeAAAA {
						reply.Extra = append(reply.Extra, glue)
					}
				}
			}
		}
		return
	}
	reply.Authoritative = true
	w.follow(reply, q, name)
}

// cut is the delegation at or above name, below one of our zones' apexes.
func (w *world) cut(name string, qtype uint16) string {
	found := ""
	for at := name; ; {
		if slices.Contains(w.zones, at) {
			return found
		}
		if !(at == name && qtype == mdns.TypeDS) { // the parent answers for DS
			for _, rr := range w.records[at] {
				if rr.Header().Rrtype == mdns.TypeNS {
					found = at
				}
			}
		}
		i, end := mdns.NextLabel(at, 0)
		if end {
			return found
		}
		at = at[i:]
	}
}
