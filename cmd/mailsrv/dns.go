package main

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/diag/checkmx"
	"mailsrv/diag/report"
	"mailsrv/server/config"
)

func init() { commands = append(commands, dnsCommand) }

// dnsRecords holds the flags of dns records.
type dnsRecords struct {
	*app
	hostname, policy, rua, mtaSTS string
	selector, keyFile             string
	addresses                     []string
}

func dnsCommand(a *app) *cobra.Command {
	d := &dnsRecords{app: a}
	cmd := &cobra.Command{
		Use:   "dns",
		Short: "The DNS records that a mail domain needs",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	records := &cobra.Command{
		Use:   "records [DOMAIN]",
		Short: "Print the DNS records to publish for a domain",
		Long: `Print the DNS records to publish for a domain, as lines for a zone file, each
with its reason. Host name and services come from the configuration; without
DOMAIN it is the first domain there. check-mx then finds nothing wrong.

What others must enter (reverse DNS, leave to send reports elsewhere) and files
for a web server stand behind a semicolon, so that all can be pasted as it is.`,
		Example: `  mailsrv dns records example.com --address 192.0.2.1 --address 2001:db8::1
  mailsrv dns records example.com --hostname mail.example.com --address 192.0.2.1 --dkim-selector s1 --dkim-key s1.pem`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return d.run(args) },
	}
	f := records.Flags()
	f.StringVar(&d.hostname, "hostname", "", "`NAME` of the mail host (default: that of the configuration)")
	f.StringArrayVar(&d.addresses, "address", nil, "public `IP` address of the mail host (repeatable)")
	f.StringVar(&d.policy, "policy", "quarantine", "what others do with forged mail (DMARC): `quarantine|reject`")
	f.StringVar(&d.rua, "rua", "", "mail `ADDRESS` that gets the reports (default postmaster@DOMAIN)")
	f.StringVar(&d.selector, "dkim-selector", "", "`NAME` of the DKIM key")
	f.StringVar(&d.keyFile, "dkim-key", "", "PEM `FILE` with the DKIM key, private or public")
	f.StringVar(&d.mtaSTS, "mta-sts", "", "also MTA-STS, for which you need a web server: `testing|enforce`")
	cmd.AddCommand(records)
	return cmd
}

func (d *dnsRecords) run(args []string) error {
	setup, err := d.setup(args)
	if err != nil {
		return err
	}
	r, err := checkmx.Recommend(*setup)
	if err != nil {
		return usagef("dns records: %v", err)
	}
	r.Localize(d.lang)
	if d.json {
		return report.JSON(d.stdout, r, true)
	}
	d.printer().Records(r)
	return nil
}

// setup puts flags and configuration together.
func (d *dnsRecords) setup(args []string) (*checkmx.Setup, error) {
	if d.policy != "quarantine" && d.policy != "reject" {
		return nil, usagef("--policy %q: must be quarantine or reject", d.policy)
	}
	if !slices.Contains([]string{"", "testing", "enforce"}, d.mtaSTS) {
		return nil, usagef("--mta-sts %q: must be testing or enforce", d.mtaSTS)
	}
	if (d.selector == "") != (d.keyFile == "") {
		return nil, usagef("--dkim-selector and --dkim-key belong together")
	}
	s := &checkmx.Setup{DMARC: d.policy, Reports: d.rua, Selector: d.selector, MTASTS: d.mtaSTS, Now: time.Now()}
	var domains []string
	if file := config.Find(d.configFile); file != "" {
		cfg, err := d.loadConfig()
		if err != nil {
			return nil, err
		}
		literal := func(d string) bool { return strings.HasPrefix(d, "[") } // has no records
		domains = slices.DeleteFunc(slices.Clone(cfg.Domains), literal)
		s.Hostname, s.Services = cfg.Hostname, userServices(cfg)
	} else {
		s.Services = []checkmx.ServicePort{{Name: "submissions", Port: 465}, {Name: "submission", Port: 587}, {Name: "pop3s", Port: 995}}
	}
	s.Hostname = cmp.Or(d.hostname, s.Hostname)
	domain := ""
	switch {
	case len(args) == 1:
		domain = args[0]
	case len(domains) > 0:
		domain = domains[0]
	default:
		return nil, usagef("dns records: name a domain; there is no configuration file with one")
	}
	var err error
	if s.Domain, err = checkmx.DomainName(domain); err != nil {
		return nil, usagef("dns records: %v", err)
	}
	if domains != nil && d.hostname == "" && !slices.Contains(domains, s.Domain) {
		return nil, usagef("dns records: %s is none of the local domains (%s); add it there, or name the server with --hostname", s.Domain, strings.Join(domains, ", "))
	}
	if s.Hostname == "" {
		return nil, usagef("dns records: name the mail host with --hostname, such as mail.%s; there is no configuration file with one", s.Domain)
	}
	for _, text := range d.addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, usagef("--address %q: is no IP address", text)
		}
		if ip = ip.Unmap(); !slices.Contains(s.Addresses, ip) {
			s.Addresses = append(s.Addresses, ip)
		}
	}
	if len(s.Addresses) == 0 {
		return nil, usagef("dns records: name the public address of %s with --address IP (repeatable)", s.Hostname)
	}
	if err := s.Check(); err != nil {
		return nil, usagef("dns records: %v", err)
	}
	if d.keyFile != "" {
		if s.Key, err = publicKey(d.keyFile); err != nil {
			return nil, usagef("--dkim-key %s: %v", d.keyFile, err)
		}
	}
	return s, nil
}

// userServices are what users reach from outside, each at its first port.
func userServices(cfg *config.Config) []checkmx.ServicePort {
	var out []checkmx.ServicePort
	for _, l := range cfg.Listen {
		known := slices.ContainsFunc(out, func(p checkmx.ServicePort) bool { return p.Name == l.Service })
		if l.Service == config.SMTP || known || l.IP().IsLoopback() {
			continue
		}
		out = append(out, checkmx.ServicePort{Name: l.Service, Port: l.Port()})
	}
	return out
}

// publicKey reads the public half of a key in PEM form.
func publicKey(file string) (crypto.PublicKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("holds no key in PEM form")
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k.Public(), nil
	}
	if k, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("holds a %q, no RSA or Ed25519 key", block.Type)
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, errors.New("holds a key that cannot sign")
	}
	return signer.Public(), nil
}
