package verify

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/checkmx"
	"mailsrv/diag/doctor/talk"
	"mailsrv/diag/explain"
	"mailsrv/probes/port"
)

// Run asks what the plan says and puts verdicts and findings into the result:
// confirmed causes come first, rejected ones last. Texts are made by Localize.
func (p *Plan) Run(ctx context.Context) {
	if p.sockets {
		p.askSockets(ctx)
	}
	p.askDNS(ctx)
	p.askMX()
	for _, a := range p.asks {
		if a.report = p.v.converse(ctx, a); a.report == nil {
			for _, c := range a.causes {
				p.skip("explain.limit", "", c, diag.Evidence{})
			}
			continue
		}
		for _, f := range a.report.Findings {
			if !p.byTheWay(a, f) {
				p.add(f)
			}
		}
	}
	for i := range p.r.Diagnosis {
		d := &p.r.Diagnosis[i]
		if d.Cause == "none" {
			continue
		}
		d.Verdict, d.Checked = p.judge(*d)
	}
	if len(p.r.Diagnosis) == 0 || p.r.Diagnosis[0].Cause == "none" {
		p.skip("explain.no_target", "", "none", diag.Evidence{"need": "error"})
	}
	p.seen()
	slices.SortStableFunc(p.r.Diagnosis, func(a, b explain.Diagnosis) int { return order[a.Verdict] - order[b.Verdict] })
	diag.Sort(p.found)
	p.r.Findings = p.found
	s := diag.Summarize(p.found)
	p.r.Summary = &s
}

var order = map[string]int{explain.Confirmed: 0, "": 1, explain.Undetermined: 1, explain.Rejected: 2}

// Localize fills in the texts of the findings, and of the causes that were found
// by asking.
func Localize(r *explain.Result, lang codes.Lang) error {
	for i := range r.Diagnosis {
		d := &r.Diagnosis[i]
		c := codes.CauseOf(d.Cause)
		if c == nil {
			continue
		}
		t := c.Text(lang)
		const doubtful = 0.4 // below, explain words it as doubt
		if d.Verdict == explain.Confirmed && d.Confidence < doubtful {
			d.Title, d.Why = t.Title, t.Why
		}
		if d.Title != "" {
			continue
		}
		d.Title, d.Why = t.Title, t.Why
		for _, fix := range t.Fixes {
			d.Fixes = append(d.Fixes, diag.Fix{Text: fix})
		}
	}
	return diag.Localize(r.Findings, lang)
}

// add keeps a finding, each id and subject once.
func (p *Plan) add(f diag.Finding) {
	if !slices.ContainsFunc(p.found, func(o diag.Finding) bool { return o.ID == f.ID && o.Subject == f.Subject }) {
		p.found = append(p.found, f)
	}
}

// askMX makes the conversations with recipients' mail hosts out of what DNS
// said.
func (p *Plan) askMX() {
	for _, m := range p.mx {
		r := p.v.domains[domainAsk{m.domain, reachable}.key()]
		if r == nil {
			continue
		}
		i := slices.IndexFunc(r.MX, func(x checkmx.MX) bool { return len(x.Addresses) > 0 })
		if i >= 0 {
			p.asks = append(p.asks, &ask{protocol: talk.SMTP, host: r.MX[i].Host, port: 25, tls: talk.Auto, to: m.to, causes: m.causes})
		}
	}
}

// askSockets looks who listens on this machine where the text says that nobody
// does, or somebody else.
func (p *Plan) askSockets(ctx context.Context) {
	all, err := p.v.sockets(ctx)
	if err != nil {
		return // no finding says so: the conversation shows as much
	}
	for _, addr := range p.localAddrs() {
		var held []port.Holder
		if held = port.Holding(all, addr); len(held) == 0 {
			p.add(diag.New("explain.port_free", addr, diag.Evidence{"address": addr}))
			continue
		}
		h := held[0]
		ev := diag.Evidence{"address": addr, "program": h.Process.Program, "pid": h.Process.PID}
		if product, ok := h.Product(); ok {
			ev["product"], ev["kind"] = product.Name, product.Kind
		}
		p.add(diag.New("explain.port_held", addr, ev))
	}
}

// localAddrs are the addresses of this machine that the text is about.
func (p *Plan) localAddrs() []string {
	var out []string
	for _, a := range p.asks {
		if ours(a.host) && !slices.Contains(out, a.hostPort()) {
			out = append(out, a.hostPort())
		}
	}
	if c := p.r.Context; len(out) == 0 && c != nil && c.Port > 0 {
		host := ""
		if ours(c.Server) {
			host = c.Server
		}
		out = append(out, net.JoinHostPort(host, strconv.Itoa(c.Port)))
	}
	return out
}

// seen adds what the named server does now although no cause of the diagnosis
// speaks of it.
func (p *Plan) seen() {
	if !p.mine() {
		return
	}
	for _, a := range p.asks {
		if a.report == nil || p.aside(a) {
			continue
		}
		for _, d := range a.report.Diagnosis[:min(1, len(a.report.Diagnosis))] {
			if p.suspects(d.Cause) {
				continue
			}
			p.r.Diagnosis = append(p.r.Diagnosis, explain.Diagnosis{
				Cause: d.Cause, Confidence: d.Confidence, Who: d.Who, Temporary: d.Temporary, Evidence: d.Evidence, Verdict: explain.Confirmed, Checked: troubles(a.report.Findings),
				Verify: &explain.Verify{Command: "mailsrv", Args: []string{"probe", a.protocol, a.hostPort()}},
			})
		}
	}
}

// troubles are the ids of what is wrong.
func troubles(fs []diag.Finding) []string {
	var ids []string
	for _, f := range fs {
		if f.Status == diag.Fail || f.Status == diag.Warn {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// withID returns the ids among those that were found; nil when none was.
func (p *Plan) withID(ids ...string) []string { return having(p.found, ids...) }

func having(fs []diag.Finding, ids ...string) []string {
	var out []string
	for _, f := range fs {
		if slices.Contains(ids, f.ID) && !slices.Contains(out, f.ID) {
			out = append(out, f.ID)
		}
	}
	return out
}

func (a *ask) command(options string) string {
	return fmt.Sprintf("mailsrv probe %s %s%s", a.protocol, a.hostPort(), options)
}
