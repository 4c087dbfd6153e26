package doctor

import (
	"context"
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag/relaytest"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
)

func TestSmartHost(t *testing.T) {
	ca := certtest.NewCA()
	own := &tls.Config{Certificates: []tls.Certificate{ca.Issue(certtest.Leaf{Names: []string{"127.0.0.1"}})}}
	other := &tls.Config{Certificates: []tls.Certificate{ca.Issue(certtest.Leaf{Names: []string{"smtp.example.net"}})}}
	const login, auth = "auth = { username = \"taro\", password = \"s3cret\" }\n", "EHLO => 250-x\\n250 AUTH PLAIN\n"
	for _, tt := range []struct {
		name, script string
		tls          *tls.Config
		login        bool
		want         []string
		outcome      any
	}{
		{"works without a login", "", nil, false, []string{}, nil},
		{"works with one", auth, nil, true, []string{}, nil},
		{"works inside TLS", "", own, false, []string{}, nil},
		{"wrong password", auth + "AUTH => 535 5.7.8 Error: authentication failed\n", nil, true, []string{"relay.smart_host_auth"}, "permanent"},
		{"wants a login", "EHLO => 250-x\\n250 AUTH PLAIN\nMAIL => 530 5.7.0 Authentication required\n", nil, false, []string{"relay.smart_host_needs_auth"}, "permanent"},
		{"refuses to relay", "RCPT => 554 5.7.1 Relay access denied\n", nil, false, []string{"relay.smart_host_refuses"}, "permanent"},
		{"does not know postmaster", "RCPT => 550 5.1.1 User unknown\n", nil, false, []string{}, nil},
		{"certificate of another", "", other, false, []string{"relay.smart_host_tls"}, "name"},
		{"says nothing", "greeting => silent\n", nil, false, []string{"relay.smart_host_unreachable"}, "silent"},
		{"asks to come again", "MAIL => 451 4.3.2 later\n", nil, false, []string{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := smtptest.New(t, smtptest.Config{Script: tt.script, TLS: tt.tls})
			text := plain(t) + "[relay]\nsmart_host = \"" + h.Addr + "\"\n"
			if tt.login {
				text += login
			}
			r := examine(t, Options{ConfigFile: configured(t, text).config, Only: []string{"relay"}, RootCAs: ca.Pool(), Timeout: 300 * time.Millisecond, Policy: refuse})
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Fatalf("%s %+v", d, r.Findings)
			}
			if len(tt.want) > 0 {
				if f := find(t, r.Findings, tt.want[0]); f.Subject != h.Addr || f.Evidence["outcome"] != tt.outcome {
					t.Errorf("%+v", f)
				}
			}
			if later := has(r.Findings, "relay.smart_host_untested"); later != (tt.name == "asks to come again") || has(r.Findings, "relay.ok") != (!later && len(tt.want) == 0) {
				t.Errorf("%+v", r.Findings)
			}
			for _, c := range h.Commands() {
				if strings.HasPrefix(c, "DATA") {
					t.Error("went beyond RCPT")
				}
			}
		})
	}
}

func refuse(relaytest.Try) relaytest.Verdict {
	return relaytest.Verdict{Result: relaytest.Refused, Reply: "550 5.7.1 no"}
}

func TestSmartHostElsewhere(t *testing.T) {
	zone := "smtp.example.net. A 192.0.2.25\n"
	run := func(stage Stage, host, number string, lines ...string) *Report {
		return examine(t, Options{
			ConfigFile: configured(t, plain(t)+"[relay]\nsmart_host = \""+host+":"+number+"\"\n").config, Stage: stage, Skip: []string{"ports", "locks", "mbox", "reach", "domains", "resolver", "hostname"},
			Resolvers: []netip.AddrPort{serverOf(t, zone)}, DialMap: lab(t, lines...), Timeout: 300 * time.Millisecond, Policy: refuse})
	}
	for _, tt := range []struct {
		host, number string
		lab          []string
		want         string
		outcome      string
	}{
		{"nowhere.example.net", "587", nil, "relay.smart_host_unreachable", "nxdomain"},
		{"smtp.example.net", "587", []string{"192.0.2.25:587 refuse"}, "relay.smart_host_unreachable", "refused"},
		{"smtp.example.net", "587", []string{"192.0.2.25:587 drop"}, "relay.smart_host_unreachable", "timeout"},
		{"smtp.example.net", "465", []string{"192.0.2.25:465 " + smtptest.New(t, smtptest.Config{}).Addr}, "relay.smart_host_tls", "plain-expected"},
	} {
		r := run(Internet, tt.host, tt.number, tt.lab...)
		if f := find(t, r.Findings, tt.want); f.Evidence["outcome"] != tt.outcome {
			t.Errorf("%+v", f)
		}
	}
	// At stage local no other machine is contacted.
	r := examine(t, Options{ConfigFile: configured(t, plain(t)+"[relay]\nsmart_host = \"smtp.example.net:587\"\n").config, Skip: []string{"ports", "locks", "mbox"},
		DialMap: lab(t), Policy: refuse})
	if len(bad(r)) != 0 || !has(r.Findings, "relay.ok") {
		t.Errorf("%+v", r.Findings)
	}
}

func TestSmartHostIsItself(t *testing.T) {
	addr := freeAddr(t)
	f := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \""+addr+"\"\n[relay]\nsmart_host = \""+addr+"\"\n")
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"relay"}, Policy: refuse})
	if d := cmp.Diff([]string{"config.smart_host_self"}, bad(r)); d != "" {
		t.Errorf("%s %+v", d, r.Findings)
	}
}

// Files that hold a password, and --fix that closes them.
func TestSecretReadable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights are not modes there")
	}
	f := configured(t, plain(t)+"[relay]\nsmart_host = \"127.0.0.1:1\"\nauth = { username = \"taro\", password = \"s3cret\" }\n")
	g := configured(t, plain(t)+"[relay]\nsmart_host = \"127.0.0.1:1\"\nauth = { username = \"taro\", password_file = \"secret\" }\n")
	secret := write(t, filepath.Join(g.dir, "secret"), "s3cret\n")
	for file, opt := range map[string]Options{f.config: {ConfigFile: f.config, Only: []string{"config"}}, secret: {ConfigFile: g.config, Only: []string{"config"}}} {
		if r := examine(t, opt); len(bad(r)) != 0 {
			t.Errorf("%v", bad(r))
		}
		must(t, os.Chmod(file, 0o644))
		r := examine(t, opt)
		if d := cmp.Diff([]string{"config.secret_readable"}, bad(r)); d != "" {
			t.Fatal(d)
		}
		if x := find(t, r.Findings, "config.secret_readable"); x.Subject != file {
			t.Errorf("%+v", x)
		}
		after, err := Apply(context.Background(), opt, Plan(r, Fixers{}))
		must(t, err)
		info, err := os.Stat(file)
		must(t, err)
		if len(bad(after)) != 0 || len(after.Fixed) != 1 || info.Mode().Perm() != 0o640 {
			t.Errorf("%v %+v %v", bad(after), after.Fixed, info.Mode())
		}
	}
}

func TestRetryNonsense(t *testing.T) {
	for text, want := range map[string][]string{
		"schedule = [\"1h\"]\ngive_up_after = \"30m\"\nwarn_after = \"0s\"\n": {"config.retry_nonsense"},
		"schedule = [\"1h\"]\ngive_up_after = \"2h\"\nwarn_after = \"0s\"\n":  {},
	} {
		r := examine(t, Options{ConfigFile: configured(t, plain(t)+"[retry]\n"+text).config, Only: []string{"config"}})
		if d := cmp.Diff(want, bad(r)); d != "" {
			t.Error(d)
		}
	}
}
