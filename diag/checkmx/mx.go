package checkmx

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

func judgeMX(j *judge) {
	j.ran = true
	if j.null() {
		r := j.MX.Records[0]
		f := j.add("mx.null", j.Domain, diag.Evidence{"record": line(j.Domain, "MX", r.Value)})
		spf := ""
		if s := j.SPF; s != nil && s.Answer.Outcome.Found() && len(s.Texts) == 0 {
			spf = j.txtLine(record.SPFFor(false))
		}
		*f = f.With("spf", spf)
		j.publish("mx.null", j.Domain, "MX", "0 .")
		return
	}
	if len(j.MX.Records) == 0 {
		j.judgeNoMX()
	} else {
		j.judgeSet()
	}
	for _, h := range j.Hosts {
		j.judgeHost(h)
	}
	j.judgeTogether()
}

// judgeNoMX is for a domain without an MX record, RFC 5321 section 5.1.
func (j *judge) judgeNoMX() {
	h := j.Apex
	switch {
	case len(h.Addrs) > 0:
		f := j.add("mx.implicit", j.Domain, diag.Evidence{"addresses": strs(h.Addrs)})
		*f = f.With("fix", line(j.Domain, "MX", "10 "+dot(j.Domain)))
		j.publish("mx.implicit", j.Domain, "MX", "10 "+dot(j.Domain))
	case h.resolved():
		host := "mail." + j.Domain
		fix := line(j.Domain, "MX", "10 "+dot(host))
		j.publish("mx.none", j.Domain, "MX", "10 "+dot(host))
		for _, a := range j.opt.Expect {
			fix += "\n" + addressLine(host, a)
			j.publish("mx.none", host, addressType(a), a.String())
		}
		f := j.add("mx.none", j.Domain, nil)
		*f = f.With("fix", fix)
	}
}

// judgeSet is for what the MX records say before any host is looked up.
func (j *judge) judgeSet() {
	real := slices.DeleteFunc(slices.Clone(j.MX.Records), func(r dns.Record) bool { return r.Host == "." })
	if len(real) < len(j.MX.Records) {
		f := j.add("mx.null_mixed", j.Domain, diag.Evidence{"hosts": j.hostNames()})
		*f = f.With("fix", j.mxLines()).With("delete", line(j.Domain, "MX", "0 ."))
	}
	for _, h := range j.Hosts {
		if h.Times > 1 {
			f := j.add("mx.duplicate", h.Name, diag.Evidence{"times": h.Times, "preference": int(h.Preference)})
			*f = f.With("fix", j.mxLine(h, h.Name))
		}
	}
}

func (j *judge) hostNames() []string {
	var out []string
	for _, h := range j.Hosts {
		out = append(out, h.Name)
	}
	return out
}

// mxLine is the MX record of h with another host name.
func (j *judge) mxLine(h *Host, name string) string {
	return line(j.Domain, "MX", fmt.Sprintf("%d %s", h.Preference, dot(name)))
}

// mxLines are the MX records the domain should have, as far as they are good.
func (j *judge) mxLines() string {
	var out []string
	for _, h := range j.Hosts {
		if h.Form == "" {
			out = append(out, j.mxLine(h, h.Name))
		}
	}
	return strings.Join(out, "\n")
}

// judgeHost gives the one reason why a host cannot be reached by its name, or
// what is unwise about it.
func (j *judge) judgeHost(h *Host) {
	ev := diag.Evidence{"host": h.Name, "preference": int(h.Preference)}
	graded := func(id string, ev diag.Evidence) *diag.Finding {
		f := j.add(id, h.Name, ev)
		if j.spare(h) {
			*f = f.As(diag.Warn)
		}
		return f
	}
	good := "mail." + j.Domain
	switch {
	case h.Form == formAddress:
		if own := j.ownName(h.Literal); own != "" {
			good = own
		}
		f := j.add("mx.ip_literal", h.Name, ev)
		*f = f.With("fix", j.mxLine(h, good)+"\n"+addressLine(good, h.Literal.IP))
		return
	case h.Form == formLocal:
		if h.Name != "localhost" && h.Name != "localhost.localdomain" && nameFault(h.Name) == "" {
			good = h.Name + "." + j.Domain // the rest of the name was forgotten
		}
		f := j.add("mx.localhost", h.Name, ev)
		*f = f.With("fix", j.mxLine(h, good))
		return
	case h.Form == formName:
		good = validName(h.Name)
		fix := j.mxLine(h, good)
		for _, a := range h.Addrs {
			fix += "\n" + addressLine(good, a.IP)
		}
		f := j.add("mx.invalid_name", h.Name, ev)
		*f = f.With("fix", fix)
		return
	case j.undotted(h):
		good = strings.TrimSuffix(h.Name, "."+j.Domain)
		ev["meant"] = good
		f := j.add("mx.missing_dot", h.Name, ev)
		*f = f.With("fix", j.mxLine(h, good))
		return
	case !h.resolved():
		ev["outcome"] = string(lost(h.A, h.AAAA).Outcome)
		graded("mx.lookup_failed", ev)
		return
	case len(h.Addrs) == 0 && !h.exists():
		ev["missing"] = missingName(h)
		if j.dangling(h) {
			ev["domain"] = h.Owner.Name
			f := j.add("mx.dangling", h.Name, ev)
			*f = f.With("delete", j.mxLine(h, h.Name)).With("keep", j.keep(h))
			return
		}
		f := graded("mx.nxdomain", ev)
		*f = f.With("fix", j.expectLines(missingName(h)))
		return
	case len(h.Addrs) == 0:
		f := graded("mx.no_address", ev)
		*f = f.With("fix", j.expectLines(h.A.Canonical()))
		return
	}
	if chain := max(len(h.A.Chain), len(h.AAAA.Chain)); chain > 0 && !h.Implicit {
		target := h.A.Canonical()
		if len(h.A.Chain) < len(h.AAAA.Chain) {
			target = h.AAAA.Canonical()
		}
		ev["target"] = target
		f := j.add("mx.cname", h.Name, ev)
		*f = f.With("fix", j.mxLine(h, target))
	}
	for _, a := range h.Addrs {
		if a.Kind != "" {
			f := j.add("mx.private_address", a.IP.String(), diag.Evidence{"host": h.Name, "kind": a.Kind})
			*f = f.With("fix", j.expectLines(h.Name))
		}
	}
}

// judgeTogether is for what the hosts are as a set.
func (j *judge) judgeTogether() {
	reachable := slices.DeleteFunc(slices.Clone(j.Hosts), func(h *Host) bool { return h.Form != "" || len(h.Addrs) == 0 })
	for i, h := range reachable {
		for _, o := range reachable[i+1:] {
			for _, a := range h.Addrs {
				if slices.Contains(o.Addrs, a) {
					j.add("mx.same_address", a.IP.String(), diag.Evidence{"hosts": []string{h.Name, o.Name}})
				}
			}
		}
	}
	v4 := slices.ContainsFunc(reachable, func(h *Host) bool {
		return slices.ContainsFunc(h.Addrs, func(a *Addr) bool { return a.IP.Is4() }) || !h.A.Outcome.Found()
	})
	if len(reachable) > 0 && !v4 {
		f := j.add("mx.ipv6_only", j.Domain, diag.Evidence{"hosts": j.hostNames()})
		*f = f.With("fix", j.expectLines(reachable[0].Name))
	}
	switch {
	case len(j.Hosts) == 1 && len(reachable) == 1 && !j.Hosts[0].Implicit:
		j.add("mx.single", j.Domain, diag.Evidence{"host": j.Hosts[0].Name})
	case len(j.Hosts) > 1:
		for i, h := range j.Hosts[1:] {
			if h.Preference == j.Hosts[i].Preference {
				j.add("mx.equal_preference", j.Domain, diag.Evidence{"hosts": j.hostNames(), "preference": int(h.Preference)})
			}
		}
	}
	j.judgeExpected(reachable)
	for _, h := range j.Hosts {
		if j.usable(h) && !h.Implicit {
			j.publish("mx.ok", j.Domain, "MX", fmt.Sprintf("%d %s", h.Preference, dot(h.Name)))
			for _, a := range h.public() {
				j.publish("mx.ok", h.Name, addressType(a.IP), a.IP.String())
			}
		}
	}
}

// judgeExpected compares with the addresses that the caller says are this
// server's.
func (j *judge) judgeExpected(reachable []*Host) {
	if len(j.opt.Expect) == 0 || len(reachable) == 0 {
		return
	}
	var have []string
	for _, h := range reachable {
		for _, a := range h.Addrs {
			if slices.Contains(j.opt.Expect, a.IP) {
				return
			}
			have = append(have, a.IP.String())
		}
	}
	var want []string
	for _, a := range j.opt.Expect {
		want = append(want, a.String())
	}
	slices.Sort(have)
	f := j.add("mx.address_mismatch", j.Domain, diag.Evidence{"expected": want, "addresses": slices.Compact(have), "host": reachable[0].Name})
	*f = f.With("fix", j.expectLines(reachable[0].Name))
}

// dangling tells that anyone could register the domain the host lies in: the
// domain does not exist, though its registry does.
func (j *judge) dangling(h *Host) bool {
	if h.Owner == nil || h.Owner.Outcome != dns.NXDomain || below(j.Domain, h.Owner.Name) {
		return false
	}
	suffix := h.Owner.Name[strings.IndexByte(h.Owner.Name, '.')+1:]
	return below(j.Domain, suffix) || h.TLD != nil && h.TLD.Outcome != dns.NXDomain
}

// undotted tells that the final dot of the host's name was forgotten: it ends
// with the domain twice, and nobody made that name.
func (f *Facts) undotted(h *Host) bool {
	return doubled(h.Name, f.Domain) && (len(h.Addrs) == 0 && h.resolved() || f.wild(h))
}

// misnamed tells that the MX record must go or name another host: nothing that
// compares it with other records is worth a word.
func (j *judge) misnamed(h *Host) bool {
	return h.Form != "" || j.undotted(h) || len(h.Addrs) == 0 && h.resolved() && !h.exists() && j.dangling(h)
}

// doubled tells that a host name ends with the domain twice.
func doubled(host, domain string) bool {
	return below(host, domain+"."+domain)
}

// wild tells that the host has an address only because a wildcard gives every
// name one.
func (f *Facts) wild(h *Host) bool {
	if f.RandomA == nil || len(f.RandomA.Records) == 0 || len(h.A.Records) == 0 {
		return false
	}
	return slices.EqualFunc(h.A.Records, f.RandomA.Records, func(a, b dns.Record) bool { return a.Addr == b.Addr })
}

// keep are the MX records without that of h.
func (j *judge) keep(h *Host) string {
	var out []string
	for _, o := range j.Hosts {
		if o != h && j.usable(o) {
			out = append(out, j.mxLine(o, o.Name))
		}
	}
	return strings.Join(out, "\n")
}

// expectLines are address records with this server's addresses, when the
// caller told them.
func (j *judge) expectLines(name string) string {
	var out []string
	for _, a := range j.opt.Expect {
		out = append(out, addressLine(name, a))
	}
	return strings.Join(out, "\n")
}

func addressType(a netip.Addr) string {
	if a.Is4() {
		return "A"
	}
	return "AAAA"
}

func addressLine(name string, a netip.Addr) string { return line(name, addressType(a), a.String()) }

// lost is the answer of the two that could not be had.
func lost(a, b *dns.Answer) *dns.Answer {
	if !a.Outcome.Found() {
		return a
	}
	return b
}

// escaped is a character as zone files write those that mean something to them.
var escaped = regexp.MustCompile(`\\(?:\d{3}|.)`)

// validName is what someone with an invalid host name most likely wants.
func validName(name string) string {
	labels := strings.Split(escaped.ReplaceAllString(name, "-"), ".")
	for i, l := range labels {
		l = strings.Map(func(r rune) rune {
			if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
				return r
			}
			return '-'
		}, l)
		labels[i] = strings.Trim(l, "-")
	}
	return strings.Join(slices.DeleteFunc(labels, func(l string) bool { return l == "" }), ".")
}
