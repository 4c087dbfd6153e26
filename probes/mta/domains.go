package mta

import (
	"slices"
	"strings"
)

// takes adds the names of a setting that lists domains. What is a table, a file,
// a pattern or worked out for each connection is no name.
func (srv *Server) takes(list []string) {
	for _, d := range list {
		d = strings.ToLower(strings.TrimSuffix(d, "."))
		if d == "" || strings.ContainsAny(d, "$:/*!@[]{}<>\"'\\") || slices.Contains(srv.Domains, d) {
			continue
		}
		srv.Domains = append(srv.Domains, d)
	}
}
