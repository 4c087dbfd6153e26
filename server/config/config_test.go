package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// good is a head that makes a file complete.
const good = `hostname = "mail.example.com"
domains = ["example.com"]
[listen]
smtp = ":25"
`

func TestDefaults(t *testing.T) {
	c, ps := Load("")
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	want := []Listener{{SMTP, "127.0.0.1:2525", 0}, {Submission, "127.0.0.1:5587", 0}, {POP3, "127.0.0.1:1110", 0}}
	if diff := cmp.Diff(want, c.Listen); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	if c.Hostname != "localhost" || c.DataDir != "mailsrv-data" || len(c.Domains) != 1 || c.Domains[0] != "localhost" || c.Open() || c.OffersTLS() {
		t.Errorf("%+v", c)
	}
}

func TestWholeFile(t *testing.T) {
	c, ps := Parse("/etc/mailsrv/mailsrv.toml", []byte(`
hostname = "mail.example.com"
data_dir = "/var/lib/mailsrv"
domains  = ["Example.COM", "[192.0.2.1]", "例え.jp", "[IPv6:2001:DB8:0::1]"]
[listen]
smtp = [":25", "[::1]:2525"]
submission = "0.0.0.0:587"
pop3s = "192.0.2.1:995"
imap = ""
finger = ''
[tls]
cert = "cert.pem"
key = '/etc/ssl/key.pem'
acme = false
[dns]
servers = ["192.0.2.53", "[2001:db8::53]:5353", "2001:db8::54"]
[relay]
allow = false
networks = ["192.168.1.0/24", "2001:db8::/32", "10.0.0.7"]
pop_before_smtp = "0s"
smart_host = "SMTP.example.net:587"
[relay.auth]
username = "taro"
password_file = "secret.txt"
[retry]
schedule = ["5m", "1h30m", "1d"]
warn_after = "0s"
give_up_after = "2w"
[auth]
mechanisms = ["login", "PLAIN"]
require_tls = false
[limits]
message_size = "25MiB"
connections = 2_000
connections_per_ip = 5
recipients = 10
auth_failures = 3
idle_timeout = "1h30m"
[mailbox]
quota = ""
keep_deleted = "3d"
[log]
level = "debug"
file = "log/mail.log"
transcripts = false
[[doctor.ignore]]
id = "port.one_family"
reason = "no IPv6 here"
until = 2030-12-31
[[doctor.ignore]]
id = "env.disk_low"
subject = "/var"
`))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	want := &Config{
		File: "/etc/mailsrv/mailsrv.toml", Hostname: "mail.example.com", DataDir: "/var/lib/mailsrv",
		Domains: []string{"example.com", "[192.0.2.1]", "xn--r8jz45g.jp", "[ipv6:2001:db8::1]"},
		Listen:  []Listener{{SMTP, ":25", 6}, {SMTP, "[::1]:2525", 6}, {Submission, "0.0.0.0:587", 7}, {POP3S, "192.0.2.1:995", 8}},
		TLS:     TLS{Cert: filepath.FromSlash("/etc/mailsrv/cert.pem"), Key: "/etc/ssl/key.pem"},
		DNS:     DNS{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:5353"), netip.MustParseAddrPort("[2001:db8::54]:53")}},
		Relay: Relay{Networks: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("10.0.0.7/32")},
			SmartHost: "smtp.example.net:587", Auth: RelayAuth{Username: "taro", PasswordFile: filepath.FromSlash("/etc/mailsrv/secret.txt")}},
		Retry:   Retry{Schedule: []time.Duration{5 * time.Minute, 90 * time.Minute, 24 * time.Hour}, GiveUpAfter: 14 * 24 * time.Hour},
		Auth:    Auth{Mechanisms: []string{"LOGIN", "PLAIN"}},
		Limits:  Limits{MessageSize: 25 << 20, Connections: 2000, ConnectionsPerIP: 5, Recipients: 10, AuthFailures: 3, IdleTimeout: 90 * time.Minute},
		Mailbox: Mailbox{KeepDeleted: 72 * time.Hour},
		Checks:  base().Checks,
		Log:     Log{Level: "debug", File: filepath.FromSlash("/etc/mailsrv/log/mail.log")},
		Doctor: Doctor{Ignore: []Ignore{
			{ID: "port.one_family", Reason: "no IPv6 here", Until: time.Date(2030, 12, 31, 0, 0, 0, 0, time.UTC)},
			{ID: "env.disk_low", Subject: "/var"},
		}},
	}
	equal := cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})}
	if diff := cmp.Diff(want, c, equal); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What is shown reads back as the same.
	again, ps := Parse("/etc/mailsrv/mailsrv.toml", []byte(c.TOML()))
	if len(ps) > 0 {
		t.Fatalf("%v in:\n%s", ps, c.TOML())
	}
	if diff := cmp.Diff(c, again, equal, cmpopts.IgnoreFields(Listener{}, "Line")); diff != "" {
		t.Errorf("shown and read again (-first +second):\n%s", diff)
	}
}

func TestExampleIsValid(t *testing.T) {
	c, ps := Parse("mailsrv.toml", []byte(Example()))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	d := base()
	if diff := cmp.Diff(d.Limits, c.Limits); diff != "" {
		t.Errorf("the example's limits are not the defaults (-default +example):\n%s", diff)
	}
	if diff := cmp.Diff(d.Retry, c.Retry); diff != "" {
		t.Errorf("the example's retries are not the defaults (-default +example):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	tests := map[string]struct {
		text string
		want Problems
	}{
		"unknown key": {"hostnam = \"x\"\n" + strings.SplitN(good, "\n", 2)[1], Problems{
			{Kind: UnknownKey, Line: 1, Column: 1, Key: "hostnam", Suggestion: "hostname"}}},
		"unknown table": {good + "[limit]\nconnections = 1\n", Problems{
			{Kind: UnknownKey, Line: 5, Column: 2, Key: "[limit]", Suggestion: "[limits]"}}},
		"unknown in table": {good + "[limits]\nsize = 1\nmesage_size = \"1MB\"\n", Problems{
			{Kind: UnknownKey, Line: 6, Column: 1, Key: "limits.size"},
			{Kind: UnknownKey, Line: 7, Column: 1, Key: "limits.mesage_size", Suggestion: "limits.message_size"}}},
		"in the wrong table": {good + "[relay]\nrequire_tls = true\n", Problems{
			{Kind: UnknownKey, Line: 6, Column: 1, Key: "relay.require_tls", Suggestion: "auth.require_tls"}}},
		"setting as table": {good[strings.Index(good, "domains"):] + "[hostname]\n", Problems{
			{Kind: BadValue, Line: 4, Column: 2, Key: "hostname"}}},
		"table as setting": {"tls = true\n" + good, Problems{
			{Kind: BadValue, Line: 1, Column: 1, Key: "tls"}}},
		"later": {good + "imap = \":143\"\n[tls]\nacme = true\n[log]\ntranscripts = true\n", Problems{
			{Kind: UnknownKey, Line: 5, Column: 8, Key: "listen.imap", Value: `":143"`, Later: true},
			{Kind: UnknownKey, Line: 7, Column: 8, Key: "tls.acme", Value: "true", Later: true},
			{Kind: UnknownKey, Line: 9, Column: 15, Key: "log.transcripts", Value: "true", Later: true}}},
		"quota": {good + "[mailbox]\nquota = \"1 GB\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 9, Key: "mailbox.quota", Value: `"1 GB"`, Suggestion: `"1GB"`}}},
		"smart host": {good + "[relay]\nsmart_host = \"smtp.example.net\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 14, Key: "relay.smart_host", Value: `"smtp.example.net"`, Suggestion: `"smtp.example.net:587"`}}},
		"smart host's port": {good + "[relay]\nsmart_host = \"smtp.example.net:smtp\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 14, Key: "relay.smart_host", Value: `"smtp.example.net:smtp"`}}},
		"smart host's name": {good + "[relay]\nsmart_host = \"smtp_example:25\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 14, Key: "relay.smart_host", Value: `"smtp_example:25"`}}},
		"smart host is an address": {good + "[relay]\nsmart_host = \"[2001:db8::1]:25\"\n", nil},
		"login nowhere": {good + "[relay.auth]\nusername = \"taro\"\npassword = \"x\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 12, Key: "relay.auth.username"}}},
		"login without a password": {good + "[relay]\nsmart_host = \"192.0.2.25:25\"\n[relay.auth]\nusername = \"taro\"\n", Problems{
			{Kind: BadValue, Line: 8, Column: 12, Key: "relay.auth.username"}}},
		"two passwords": {good + "[relay]\nsmart_host = \"192.0.2.25:25\"\nauth = { username = \"taro\", password = \"x\", password_file = \"y\" }\n", Problems{
			{Kind: BadValue, Line: 7, Column: 61, Key: "relay.auth.password_file"}}},
		"password without a name": {good + "[relay.auth]\npassword = \"x\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 12, Key: "relay.auth.password"}}},
		"a bad password is not shown": {good + "[relay.auth]\npassword = 123456\n", Problems{
			{Kind: BadValue, Line: 6, Column: 12, Key: "relay.auth.password"}}},
		"schedule": {good + "[retry]\nschedule = [\"10\", \"5 minutes\", \"0s\"]\n", Problems{
			{Kind: BadValue, Line: 6, Column: 13, Key: "retry.schedule", Value: `"10"`},
			{Kind: BadValue, Line: 6, Column: 19, Key: "retry.schedule", Value: `"5 minutes"`, Suggestion: `"5m"`},
			{Kind: BadValue, Line: 6, Column: 32, Key: "retry.schedule", Value: `"0s"`}}},
		"empty schedule": {good + "[retry]\nschedule = []\n", Problems{
			{Kind: BadValue, Line: 6, Column: 1, Key: "retry.schedule", Value: "[]"}}},
		"warning that never comes": {good + "[retry]\ngive_up_after = \"2h\"\nwarn_after = \"4h\"\n", Problems{
			{Kind: BadValue, Line: 7, Column: 14, Key: "retry.warn_after"}}},
		"short-lived mail": {good + "[retry]\ngive_up_after = \"2h\"\n", nil},
		"dotted keys": {"listen.smtp = \":25\"\nlisten.pop = \":110\"\nhostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n", Problems{
			{Kind: UnknownKey, Line: 2, Column: 1, Key: "listen.pop", Suggestion: "listen.pop3"}}},
		"inline table": {"listen = { smtp = 25, pop3 = \":110\" }\nhostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n", Problems{
			{Kind: BadAddress, Line: 1, Column: 19, Key: "listen.smtp", Value: "25", Suggestion: `":25"`}}},
		"single brackets": {good + "[doctor.ignore]\nid = \"x\"\n", Problems{
			{Kind: BadValue, Line: 5, Column: 2, Key: "doctor.ignore"}}},

		"size without unit": {good + "[limits]\nmessage_size = 25000000\n", Problems{
			{Kind: BadValue, Line: 6, Column: 16, Key: "limits.message_size", Value: "25000000", Suggestion: `"25MB"`}}},
		"size with half a unit": {good + "[limits]\nmessage_size = \"25 M\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 16, Key: "limits.message_size", Value: `"25 M"`, Suggestion: `"25MB"`}}},
		"duration": {good + "[limits]\nidle_timeout = \"5 minutes\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 16, Key: "limits.idle_timeout", Value: `"5 minutes"`, Suggestion: `"5m"`}}},
		"duration out of range": {good + "[limits]\nidle_timeout = \"14d\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 16, Key: "limits.idle_timeout", Value: `"14d"`}}},
		"number in quotes": {good + "[limits]\nconnections = \"100\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 15, Key: "limits.connections", Value: `"100"`, Suggestion: "100"}}},
		"number out of range": {good + "[limits]\nrecipients = 0\n", Problems{
			{Kind: BadValue, Line: 6, Column: 14, Key: "limits.recipients", Value: "0"}}},
		"boolean in quotes": {good + "[relay]\nallow = \"yes\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 9, Key: "relay.allow", Value: `"yes"`, Suggestion: "true"}}},
		"text without quotes": {good + "[log]\nfile = 5\n", Problems{
			{Kind: BadValue, Line: 6, Column: 8, Key: "log.file", Value: "5", Suggestion: `"5"`}}},
		"one of": {good + "[log]\nlevel = \"warning\"\n", Problems{
			{Kind: BadValue, Line: 6, Column: 9, Key: "log.level", Value: `"warning"`, Suggestion: `"warn"`}}},
		"mechanisms": {good + "[auth]\nmechanisms = [\"PLIAN\",\n \"CRAM-MD5\"]\n", Problems{
			{Kind: BadValue, Line: 6, Column: 15, Key: "auth.mechanisms", Value: `"PLIAN"`, Suggestion: `"PLAIN"`},
			{Kind: BadValue, Line: 7, Column: 2, Key: "auth.mechanisms", Value: `"CRAM-MD5"`}}},
		"no mechanism": {good + "[auth]\nmechanisms = []\n", Problems{
			{Kind: BadValue, Line: 6, Column: 1, Key: "auth.mechanisms", Value: "[]"}}},
		"Windows path": {`data_dir = "C:\temp"` + "\n" + good, Problems{
			{Kind: BadValue, Line: 1, Column: 12, Key: "data_dir", Value: `"C:\temp"`}}},

		"networks": {good + "[relay]\nnetworks = [\"192.168.1.*\", \"10.0.0.1/8\",\n \"192.168.1.2~254\", \"192.0.2.0-192.0.2.127\", \"172.16.0.0/255.240.0.0\", \"10.1.\", \"x\"]\n", Problems{
			{Kind: BadAddress, Line: 6, Column: 13, Key: "relay.networks", Value: `"192.168.1.*"`, Suggestion: `"192.168.1.0/24"`},
			{Kind: BadAddress, Line: 6, Column: 28, Key: "relay.networks", Value: `"10.0.0.1/8"`, Suggestion: `"10.0.0.0/8"`},
			{Kind: BadAddress, Line: 7, Column: 2, Key: "relay.networks", Value: `"192.168.1.2~254"`, Suggestion: `"192.168.1.0/24"`},
			{Kind: BadAddress, Line: 7, Column: 21, Key: "relay.networks", Value: `"192.0.2.0-192.0.2.127"`, Suggestion: `"192.0.2.0/25"`},
			{Kind: BadAddress, Line: 7, Column: 46, Key: "relay.networks", Value: `"172.16.0.0/255.240.0.0"`, Suggestion: `"172.16.0.0/12"`},
			{Kind: BadAddress, Line: 7, Column: 72, Key: "relay.networks", Value: `"10.1."`, Suggestion: `"10.1.0.0/16"`},
			{Kind: BadAddress, Line: 7, Column: 81, Key: "relay.networks", Value: `"x"`}}},
		"resolver": {good + "[dns]\nservers = [\"dns.example.com\"]\n", Problems{
			{Kind: BadAddress, Line: 6, Column: 12, Key: "dns.servers", Value: `"dns.example.com"`}}},
		"listen": {good + "pop3 = [\"127.0.0.1\", \"mail.example.com:110\", \"*:110\", \"127.0.0.1:99999\", \"\"]\nsubmission = 587\n", Problems{
			{Kind: BadAddress, Line: 5, Column: 9, Key: "listen.pop3", Value: `"127.0.0.1"`, Suggestion: `"127.0.0.1:110"`},
			{Kind: BadAddress, Line: 5, Column: 22, Key: "listen.pop3", Value: `"mail.example.com:110"`},
			{Kind: BadAddress, Line: 5, Column: 46, Key: "listen.pop3", Value: `"*:110"`, Suggestion: `":110"`},
			{Kind: BadAddress, Line: 5, Column: 55, Key: "listen.pop3", Value: `"127.0.0.1:99999"`},
			{Kind: BadAddress, Line: 6, Column: 14, Key: "listen.submission", Value: "587", Suggestion: `":587"`}}},
		"port zero": {good + "pop3 = \"127.0.0.1:0\"\n", Problems{
			{Kind: PortZero, Line: 5, Column: 8, Key: "listen.pop3", Value: `"127.0.0.1:0"`, Suggestion: `"127.0.0.1:110"`}}},
		"duplicate": {good + "pop3 = \"192.0.2.1:25\"\npop3s = [\"192.0.2.1:995\", \"192.0.2.2:995\"]\nsubmissions = \"192.0.2.1:995\"\n", Problems{
			{Kind: ListenDuplicate, Line: 5, Key: "listen.pop3", Value: `"192.0.2.1:25"`},
			{Kind: ListenDuplicate, Line: 7, Key: "listen.submissions", Value: `"192.0.2.1:995"`}}},
		"both families are no duplicate": {good[:strings.Index(good, "smtp")] + "smtp = [\"0.0.0.0:25\", \"[::]:25\"]\n", nil},

		"full-width host name": {strings.Replace(good, "mail.example.com", "マイＰＣ.example.com", 1), Problems{
			{Kind: BadValue, Line: 1, Column: 12, Key: "hostname", Value: `"マイＰＣ.example.com"`}}},
		"short host name": {strings.Replace(good, "mail.example.com", "mail", 1), Problems{
			{Kind: BadValue, Line: 1, Column: 12, Key: "hostname", Value: `"mail"`}}},
		"address as host name": {strings.Replace(good, "mail.example.com", "192.0.2.1", 1), Problems{
			{Kind: BadValue, Line: 1, Column: 12, Key: "hostname", Value: `"192.0.2.1"`}}},
		"domains": {strings.Replace(good, `["example.com"]`, `["192.0.2.1", "2001:db8::1", "exa mple.com", "[192.0.2]", "", 5]`, 1), Problems{
			{Kind: BadValue, Line: 2, Column: 12, Key: "domains", Value: `"192.0.2.1"`, Suggestion: `"[192.0.2.1]"`},
			{Kind: BadValue, Line: 2, Column: 25, Key: "domains", Value: `"2001:db8::1"`, Suggestion: `"[IPv6:2001:db8::1]"`},
			{Kind: BadValue, Line: 2, Column: 40, Key: "domains", Value: `"exa mple.com"`},
			{Kind: BadValue, Line: 2, Column: 56, Key: "domains", Value: `"[192.0.2]"`},
			{Kind: BadValue, Line: 2, Column: 69, Key: "domains", Value: `""`},
			{Kind: BadValue, Line: 2, Column: 73, Key: "domains", Value: "5", Suggestion: `"5"`}}},

		"empty": {"", Problems{{Kind: NoDomain, Key: "domains"}, {Kind: NoListener, Key: "listen"}}},
		"no host name, open": {good[strings.Index(good, "domains"):], Problems{
			{Kind: NoHostname, Key: "hostname"}}},
		"no host name, loopback":    {strings.Replace(good[strings.Index(good, "domains"):], ":25", "127.0.0.1:25", 1), nil},
		"certificate without a key": {good + "[tls]\ncert = \"c.pem\"\n", Problems{{Kind: BadValue, Key: "tls"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, got := Parse("mailsrv.toml", []byte(tt.text))
			for i := range tt.want {
				tt.want[i].File = "mailsrv.toml"
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Problem{}, "Message"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, p := range got {
				if len(p.Message) < 10 || !strings.HasPrefix(p.Error(), "mailsrv.toml:") {
					t.Errorf("says too little: %v", p)
				}
			}
			if c == nil {
				t.Error("no configuration")
			}
		})
	}
}

func TestSyntax(t *testing.T) {
	for name, tt := range map[string]struct {
		text      string
		line, col int
		says      string
	}{
		"no value":      {"hostname =\n", 1, 11, `"hostname ="`},
		"no quotes":     {"\nhostname = mail.example.com\n", 2, 12, "mail.example.com"},
		"Word's quotes": {"hostname = “mail.example.com”\n", 1, 12, "plain ASCII"},
		"twice":         {"hostname = \"a.example\"\nhostname = \"b.example\"\n", 2, 1, "hostname"},
		"table twice":   {"[tls]\n[relay]\n[tls]\n", 3, 2, "tls"},
		"UTF-16":        {"\xff\xfeh\x00", 1, 1, "UTF-8"},
	} {
		_, got := Parse("f.toml", []byte(tt.text))
		if len(got) != 1 || got[0].Kind != Syntax || got[0].Line != tt.line || got[0].Column != tt.col || !strings.Contains(got[0].Message, tt.says) {
			t.Errorf("%s: %+v; want line %d, column %d, %q", name, got, tt.line, tt.col, tt.says)
		}
	}
	if _, ps := Parse("f.toml", []byte("\xef\xbb\xbf"+strings.ReplaceAll(good, "\n", "\r\n"))); len(ps) > 0 {
		t.Errorf("a file written by Notepad: %v", ps)
	}
}

func TestMessages(t *testing.T) {
	_, ps := Parse("mailsrv.toml", []byte(good+"imap = \":143\"\n[limits]\nconnections = \"many\"\nconections = 1\n"))
	want := `mailsrv.toml:5:8: listen.imap = ":143": is not supported by this version yet; leave it out or set it to ""
mailsrv.toml:7:15: limits.connections = "many": must be a whole number from 1 to 100000, without quotes
mailsrv.toml:8:1: limits.conections: there is no such setting; did you mean: limits.connections`
	if diff := cmp.Diff(want, ps.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Somebody else's file, such as a lock file of many keys, is given up, and what
// follows is not called missing.
func TestForeignFileIsGivenUp(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "k%d = 1\n", i)
	}
	list := strings.Replace(good, `"example.com"`, strings.Repeat("5, ", 60_000), 1)
	for name, text := range map[string]string{"keys": b.String() + good, "list": list} {
		_, ps := Parse("f.toml", []byte(text))
		if len(ps) != maxProblems+1 {
			t.Fatalf("%s: %d problems, want %d and the last word", name, len(ps), maxProblems)
		}
		if last := ps[maxProblems]; last.Kind != UnknownKey || last.Line == 0 || !strings.Contains(last.Message, "more than 100 mistakes") {
			t.Errorf("%s: the last is %+v", name, last)
		}
	}
}

// What cannot be accepted is not what was meant.
func TestSuggestionsAreAccepted(t *testing.T) {
	for _, d := range []string{"9999999999h", "9999999999 hours", "99999999999999999999 days", "5 minutes"} {
		_, ps := Parse("f.toml", []byte(good+"[limits]\nidle_timeout = \""+d+"\"\n"))
		if len(ps) != 1 {
			t.Fatalf("%s: %v", d, ps)
		}
		if s := ps[0].Suggestion; s != "" {
			if _, _, err := ParseDuration(strings.Trim(s, `"`)); err != nil {
				t.Errorf("%s: suggests %s", d, s)
			}
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for path, kind := range map[string]Kind{filepath.Join(dir, "missing.toml"): NotFound, dir: Unreadable} {
		c, ps := Load(path)
		if len(ps) != 1 || ps[0].Kind != kind || ps[0].File != path || c == nil {
			t.Errorf("%s: %v, want %s", path, ps, kind)
		}
	}
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ps := Load(big); len(ps) != 1 || ps[0].Kind != Unreadable {
		t.Errorf("a file too long: %v", ps)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("MAILSRV_CONFIG", "")
	if runtime.GOOS == "windows" {
		t.Setenv("ProgramData", filepath.Join(dir, "none"))
	}
	usual := ""
	if _, err := os.Stat(UsualPlace()); err == nil {
		usual = UsualPlace()
	}
	if got := Find(""); got != usual {
		t.Errorf("nothing there: %q, want %q", got, usual)
	}
	if err := os.WriteFile(FileName, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Find(""); got != FileName {
		t.Errorf("in the folder: %q", got)
	}
	t.Setenv("MAILSRV_CONFIG", "env.toml")
	if got := Find(""); got != "env.toml" {
		t.Errorf("environment: %q", got)
	}
	if got := Find("flag.toml"); got != "flag.toml" {
		t.Errorf("flag: %q", got)
	}
}

func TestSizesAndDurations(t *testing.T) {
	for s, want := range map[string]int64{"25MB": 25e6, "25MiB": 25 << 20, "1.5GB": 1.5e9, "10B": 10, "1TiB": 1 << 40, "": -1, "MB": -1, "-1MB": -1, "1e3B": -1, "25mb": -1, "9999999TB": -1, "0B": -1} {
		n, _, err := ParseSize(s)
		if (err != nil) != (want < 0) || err == nil && n != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", s, n, err, want)
		}
		if err == nil {
			if back, _, err := ParseSize(FormatSize(n)); err != nil || back != n {
				t.Errorf("%d formatted as %q reads %d, %v", n, FormatSize(n), back, err)
			}
		}
	}
	for s, want := range map[string]time.Duration{"5m": 5 * time.Minute, "14d": 14 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "1.5d": 36 * time.Hour, "": -1, "5": -1, "-5m": -1, "d": -1, "5 m": -1} {
		d, _, err := ParseDuration(s)
		if (err != nil) != (want < 0) || err == nil && d != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", s, d, err, want)
		}
		if err == nil {
			if back, _, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
				t.Errorf("%v formatted as %q reads %v, %v", d, FormatDuration(d), back, err)
			}
		}
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	for content, want := range map[string]string{"s3cret\r\nmore\n": "s3cret", "s3cret": "s3cret", " blanks count \n": " blanks count "} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := (RelayAuth{PasswordFile: file}).Secret(); got != want || err != nil {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	if err := os.WriteFile(file, []byte("\nlater\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, dir, filepath.Join(dir, "none")} {
		if got, err := (RelayAuth{PasswordFile: bad}).Secret(); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %q, %v", bad, got, err)
		}
	}
}

// Who shows a configuration to others shows no password.
func TestPasswordIsNotShown(t *testing.T) {
	c, ps := Parse("mailsrv.toml", []byte(good+"[relay]\nsmart_host = \"192.0.2.25:25\"\n[relay.auth]\nusername = \"taro\"\npassword = \"s3cret\"\n"))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	if _, ps := Parse("mailsrv.toml", []byte(good+"[relay.auth]\npassword = \"s3cret\n")); len(ps) != 1 || strings.Contains(ps.Error(), "s3cret") {
		t.Errorf("a line that cannot be read: %v", ps)
	}
	js, err := json.Marshal(c)
	if err != nil || strings.Contains(c.TOML()+string(js), "s3cret") {
		t.Errorf("%v, shown as\n%s\n%s", err, c.TOML(), js)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good + "[relay]\nsmart_host = \"[::1]:25\"\n[relay.auth]\nusername = \"t\"\npassword = \"x\"\n[retry]\nschedule = [\"1.5s\", \"36h\"]\nwarn_after = \"0s\"\n"))
	f.Add([]byte(good))
	f.Add([]byte(Example()))
	f.Add([]byte("[[doctor.ignore]]\nid = 1\n[relay]\nnetworks = [\"10.0.0.2~254\", {a = 1}]\nlisten.smtp = [[\":25\"]]"))
	f.Add([]byte("limits = {message_size = \"1MB\", x.y = 1}\n\"listen\".'smtp' = ''''x'''"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, ps := Parse("f.toml", data)
		if len(ps) > 0 {
			if ps.Error() == "" {
				t.Error("problems without words")
			}
			return
		}
		again, ps := Parse("f.toml", []byte(c.TOML()))
		if len(ps) > 0 {
			t.Fatalf("%q is good, but shown as\n%s\nit is not: %v", data, c.TOML(), ps)
		}
		if a, b := c.TOML(), again.TOML(); a != b {
			t.Errorf("%q shown as\n%s\nthen as\n%s", data, a, b)
		}
	})
}

func FuzzNetwork(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "192.168.1.*", "192.168.1.2~254", "2001:db8::1-2001:db8::ffff", "1.2.3.4/255.255.0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, likely, err := ParseNetwork(s)
		if err == nil {
			return
		}
		for _, l := range likely {
			if _, _, err := ParseNetwork(l); err != nil {
				t.Errorf("%q: the suggestion %q is wrong itself: %v", s, l, err)
			}
		}
	})
}
