package mta

import (
	"cmp"
	"context"
	"strings"
)

func (s System) dovecot(ctx context.Context, in instance) (Server, bool) {
	doveconf := s.look("doveconf")
	if doveconf == "" {
		return Server{}, false
	}
	srv := Server{Product: Dovecot, Program: doveconf}
	args := []string{doveconf}
	if in.config != "" {
		args = append(args, "-c", in.config)
	}
	o := run(ctx, append(args, "-n")...)
	srv.Late = o.late
	srv.Complaint = complaints(o, "fatal:", "error:")
	c := parseDoveconf(o.stdout)
	srv.Version, srv.ConfigDir = c.version, cmp.Or(c.file, in.config)
	switch {
	case c.values["disable_plaintext_auth"] == "no":
		srv.ClearAuth = "disable_plaintext_auth = no"
	case c.values["auth_allow_cleartext"] == "yes": // 2.4
		srv.ClearAuth = "auth_allow_cleartext = yes"
	}
	if c.values["ssl"] != "no" {
		for _, name := range []string{"ssl_cert", "ssl_server_cert_file"} {
			// Only the file of the certificate is shown; the key is hidden.
			if cert := strings.TrimPrefix(c.values[name], "<"); strings.HasPrefix(cert, "/") {
				srv.Certs = append(srv.Certs, Pair{Cert: cert})
			}
		}
	}
	base := c.values["base_dir"]
	if base == "" {
		base = "/run/dovecot"
	}
	srv.PID, srv.Running = s.alive(base+"/master.pid", "dovecot")
	return srv, true
}

// doveconf is what "doveconf -n" says: the settings outside of blocks.
type doveconf struct {
	version, file string
	values        map[string]string
}

func parseDoveconf(text string) doveconf {
	c := doveconf{values: map[string]string{}}
	depth := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "# ") && c.version == "":
			// "# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf"
			version, rest, _ := strings.Cut(line[2:], " ")
			if _, file, ok := strings.Cut(rest, "): "); ok {
				c.version, c.file = version, strings.TrimSpace(file)
			}
		case strings.HasPrefix(line, "#"), line == "":
		case strings.HasSuffix(line, "{"):
			depth++
		case line == "}":
			depth = max(0, depth-1)
		case depth == 0:
			if name, value, ok := strings.Cut(line, " = "); ok {
				c.values[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
		}
	}
	return c
}
