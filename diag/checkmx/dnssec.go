package checkmx

import (
	"mailsrv/diag"
	"mailsrv/probes/dns"
)

func judgeDNSSEC(j *judge) {
	switch {
	case j.MX == nil:
	case !j.MX.Outcome.Found():
		if (j.MX.Outcome == dns.ServFail || j.MX.Outcome == dns.Malformed) && j.bogus() {
			j.add("dnssec.bogus", j.Domain, diag.Evidence{"resolver": j.Resolver})
		}
	case j.MX.AD:
		j.ran = true
	case j.DS != nil && j.DS.Outcome == dns.NoData && !j.DS.AD:
		// A DS without AD comes from a resolver that does not validate: unknown.
		j.add("dnssec.unsigned", j.Domain, nil)
	}
}
