package doctor

import (
	"cmp"
	"slices"
	"strings"

	"mailsrv/diag"
)

// follows says which findings are only consequences of which others. A name
// that ends with a dot stands for all ids that begin with it. A consequence is
// left out when its cause is there as a fail or warn.
var follows = []struct{ cause, consequence string }{
	{"env.data_dir_unwritable", "log."},
	{"env.data_dir_unwritable", "account."},
	{"env.data_dir_unwritable", "queue."},
	{"env.data_dir_unwritable", "mailbox."},
	{"env.data_dir_unwritable", "loop."},
	{"env.data_dir_unwritable", "env.disk_"},
	{"env.data_dir_owner", "account."},
	{"env.disk_full", "loop."},
	{"env.address_changed", "port.not_listening"}, {"env.address_changed", "port.address_not_local"}, {"env.address_changed", "server.not_answering"},
	{"env.no_address", "relay.smart_host_unreachable"}, {"env.no_address", "port.address_not_local"}, {"env.no_address", "env.address_changed"},
	{"mx.address_mismatch", "hostname.elsewhere"}, {"domain.dynamic_stale", "hostname.elsewhere"},
	{"config.no_hostname", "hostname."},
	{"resolver.no_type", "dns."}, {"resolver.no_type", "domain."},
	{"config.message_size_high", "env.disk_"},
	{"config.changed_since_start", "port.not_listening"},
	{"config.changed_since_start", "cert.not_reloaded"},
	{"port.in_use", "loop."},
	{"port.av_proxy", "loop."},
	{"port.permission", "loop."},
	{"port.excluded_range", "loop."},
	{"port.address_not_local", "loop."},
	{"port.not_listening", "loop."},
	{"port.wrong_service", "loop."},
	{"server.not_answering", "loop."},
	{"auth.no_mechanism", "loop."},
	{"auth.test_exemption", "relay.open"},
	{"account.none", "account.no_"},
	{"resolver.none", "mx."}, {"resolver.none", "ptr."},
	{"resolver.silent", "mx."}, {"resolver.silent", "ptr."},
	{"domain.nxdomain", "hostname.not_resolving"},
	{"port.in_use", "reach.in25_not_listening"}, {"port.av_proxy", "reach.in25_not_listening"}, {"port.permission", "reach.in25_not_listening"},
	{"port.excluded_range", "reach.in25_not_listening"}, {"port.address_not_local", "reach.in25_not_listening"},
	{"port.not_listening", "reach.in25_not_listening"}, {"env.address_changed", "reach.in25_not_listening"},
	{"reach.no_network", "smtp."}, {"reach.no_network", "mtasts."}, {"reach.out25_blocked", "smtp.timeout"},
	{"reach.in25_not_listening", "smtp.refused"}, {"reach.in25_not_forwarded", "smtp.timeout"}, {"reach.in25_not_forwarded", "smtp.refused"},
	{"reach.local_firewall", "smtp.timeout"}, {"reach.cgnat", "smtp.timeout"},
	{"reach.no_network", "matrix."}, {"reach.out25_blocked", "matrix.remote_fail"}, {"loop.failed", "matrix.own_fail"},
	{"relay.smart_host_unreachable", "queue.stuck"}, {"relay.smart_host_unreachable", "queue.deferred"}, {"relay.smart_host_auth", "queue.stuck"}, {"relay.smart_host_auth", "queue.deferred"}, {"relay.smart_host_needs_auth", "queue.stuck"}, {"relay.smart_host_needs_auth", "queue.deferred"},
	{"relay.smart_host_tls", "queue.stuck"}, {"relay.smart_host_tls", "queue.deferred"}, {"relay.smart_host_refuses", "queue.stuck"}, {"relay.smart_host_refuses", "queue.deferred"}, {"config.smart_host_self", "queue.stuck"}, {"config.smart_host_self", "queue.deferred"},
	{"relay.smart_host_unreachable", "matrix.remote_fail"}, {"relay.smart_host_auth", "matrix.remote_fail"},
	{"resolver.silent", "relay.smart_host_unreachable"}, {"resolver.none", "relay.smart_host_unreachable"},
	{"env.clock_skew", "cert.not_yet_valid"}, {"env.clock_wrong", "env.clock_skew"},
	{"hostname.bad_characters", "cert.name_mismatch"},
	{"hostname.not_fqdn", "cert.name_mismatch"},
	{"hostname.is_address", "cert.name_mismatch"},
}

// consequences takes out what only follows from something else, and says of a
// check that has nothing else to tell why that is.
func consequences(results []result) []result {
	bad := map[string]bool{}
	for _, x := range results {
		for _, f := range x.findings {
			if f.Status == diag.Fail || f.Status == diag.Warn {
				bad[f.ID] = true
			}
		}
	}
	for i, x := range results {
		because := ""
		kept := slices.DeleteFunc(slices.Clone(x.findings), func(f diag.Finding) bool {
			cause := causeOf(f, bad)
			because = cmp.Or(because, cause)
			return cause != ""
		})
		if because != "" && !slices.ContainsFunc(kept, func(f diag.Finding) bool { return f.Status != diag.Info }) {
			kept = append(kept, skipped(x.check.Name, because)...)
		}
		results[i].findings = kept
	}
	return results
}

// causeOf is the finding that f only follows from, or empty.
func causeOf(f diag.Finding, bad map[string]bool) string {
	if f.Status != diag.Fail && f.Status != diag.Warn {
		return ""
	}
	for _, x := range follows {
		if bad[x.cause] && f.ID != x.cause && matches(f.ID, x.consequence) {
			return x.cause
		}
	}
	return ""
}

func matches(id, pattern string) bool {
	if strings.HasSuffix(pattern, ".") || strings.HasSuffix(pattern, "_") {
		return strings.HasPrefix(id, pattern)
	}
	return id == pattern
}
