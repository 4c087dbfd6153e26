package main

import (
	"crypto/x509"
	"net/netip"
	"os"

	"mailsrv/probes/dial"
)

// dialMapFlag reads the file of --dial-map; nil without one.
func dialMapFlag(path string) (*dial.Map, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("--dial-map: %v", err)
	}
	defer f.Close()
	m, err := dial.ParseMap(f)
	if err != nil {
		return nil, usagef("--dial-map %s: %v", path, err)
	}
	return m, nil
}

// rootsFlag adds the file of --ca-file to the system's roots; nil without one.
func rootsFlag(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("--ca-file: %v", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usagef("--ca-file %s: holds no certificate in PEM form", path)
	}
	return roots, nil
}

// addressFlags reads a repeatable flag of IP addresses.
func addressFlags(flag string, values []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range values {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return nil, usagef("%s %q: is no IP address", flag, s)
		}
		out = append(out, ip.Unmap())
	}
	return out, nil
}
