package doctor

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/server/store"
)

func TestConfigMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"none", "", []string{}},
		{"not TOML", "hostname = mail.example.com\n", []string{"config.syntax"}},
		{"unknown key", "hostnam = \"x\"\n", []string{"config.unknown_key"}},
		{"later setting", "[tls]\nacme = true\n", []string{"config.unknown_key"}},
		{"bad size", "[limits]\nmessage_size = \"25 big ones\"\n", []string{"config.bad_value"}},
		{"range of addresses", "[relay]\nnetworks = [\"192.168.1.*\"]\n", []string{"config.bad_address"}},
		{"small messages", "[limits]\nmessage_size = \"500KB\"\n", []string{"config.message_size_low"}},
		{"huge messages", "[limits]\nmessage_size = \"2GB\"\n", []string{"config.message_size_high"}},
		{"low limits", "[limits]\nrecipients = 5\nconnections = 2\nidle_timeout = \"5s\"\n", []string{"config.limit_low", "config.limit_low", "config.limit_low"}},
		{"bare address", "", []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.text
			if tt.name != "not TOML" {
				text = "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\nlisten.smtp = \"127.0.0.1:2525\"\n" + text
			}
			r := examine(t, Options{ConfigFile: configured(t, text).config, Only: []string{"config"}})
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestConfigMissing(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", []string{"config.no_domain", "config.no_listener"}},
		{"[listen]\nsmtp = \":2525\"\n", []string{"config.no_hostname", "config.no_domain"}},
		{"hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \":2525\"\npop3 = \"127.0.0.1:2525\"\n", []string{"config.listen_duplicate"}},
		{"hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:2525\"\npop3 = \":0\"\n", []string{"config.port_zero"}},
	} {
		r := examine(t, Options{ConfigFile: configured(t, tt.text).config, Only: []string{"config"}})
		if d := cmp.Diff(tt.want, bad(r)); d != "" {
			t.Error(tt.text, d)
		}
	}
}

// A file that cannot be understood is the one fault; what needs it is skipped,
// the rest goes on, and the exit code is 1.
func TestBrokenConfigStopsOnlyWhatNeedsIt(t *testing.T) {
	for name, file := range map[string]string{
		"config.syntax":    configured(t, "x = = y\n").config,
		"config.not_found": filepath.Join(t.TempDir(), "nowhere.toml"),
	} {
		r := examine(t, Options{ConfigFile: file, Spools: []string{t.TempDir()}})
		if d := cmp.Diff([]string{name}, bad(r)); d != "" {
			t.Error(d)
		}
		f := find(t, r.Findings, "check.skipped")
		for _, check := range []string{"ports", "accounts", "relay", "loop"} {
			if !strings.Contains(f.Subject, check) {
				t.Errorf("%s is not skipped: %s", check, f.Subject)
			}
		}
		if f.Evidence["because"] != name || !has(r.Findings, "locks.ok") || r.ExitCode(false) != ExitFailed {
			t.Errorf("%+v, exit %d", f, r.ExitCode(false))
		}
	}
}

// A mistake that another check explains better is not said twice, and not lost
// when that check does not run.
func TestConfigMistakeIsSaidOnce(t *testing.T) {
	text := "hostname = \"メール\"\ndomains = [\"192.0.2.1\"]\n[listen]\nsmtp = \"" + freeAddr(t) + "\"\n[auth]\nmechanisms = [\"PLAIN\", \"CRAM-MD5\"]\n"
	file := configured(t, text).config
	r := examine(t, Options{ConfigFile: file, Only: []string{"config", "hostname", "domains", "auth"}})
	if d := cmp.Diff([]string{"hostname.bad_characters", "domain.bare_address", "auth.mechanism_unsupported"}, bad(r)); d != "" {
		t.Error(d)
	}
	r = examine(t, Options{ConfigFile: file, Only: []string{"config"}})
	if d := cmp.Diff([]string{"config.bad_value", "config.bad_value", "config.bad_value"}, bad(r)); d != "" {
		t.Error(d)
	}
}

func TestConfigChangedSinceStart(t *testing.T) {
	f := configured(t, plain(t))
	l, err := store.Acquire(f.data())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for _, tt := range []struct {
		started time.Duration
		want    []string
	}{{-time.Hour, []string{"config.changed_since_start"}}, {-time.Second, []string{}}, {time.Hour, []string{}}} {
		if err := l.Announce(f.data(), store.Run{PID: os.Getpid(), Started: time.Now().Add(tt.started).UTC()}); err != nil {
			t.Fatal(err)
		}
		r := examine(t, Options{ConfigFile: f.config, Only: []string{"config"}})
		if d := cmp.Diff(tt.want, bad(r)); d != "" {
			t.Error(tt.started, d)
		}
	}
}

func TestConfigDiffers(t *testing.T) {
	r := examine(t, Options{ConfigFile: configured(t, plain(t)+"[limits]\nrecipients = 500\n").config, Only: []string{"config"}})
	f := find(t, r.Findings, "config.differs")
	text := fmt.Sprint(f.Evidence["settings"])
	if text != "[limits.recipients = 500]" {
		t.Errorf("%s", text)
	}
}

func TestEnvironment(t *testing.T) {
	only := func(file string) *Report {
		return examine(t, Options{ConfigFile: file, Only: []string{"environment"}})
	}
	ok := configured(t, plain(t))
	if r := only(ok.config); len(bad(r)) != 0 || !has(r.Findings, "environment.ok") {
		t.Errorf("%v", bad(r))
	}

	// A file where the data directory should be.
	f := configured(t, plain(t))
	write(t, filepath.Join(f.dir, "data"), "")
	r := only(f.config)
	if d := cmp.Diff([]string{"env.data_dir_unwritable"}, bad(r)); d != "" {
		t.Error(d)
	}
	if x := find(t, r.Findings, "env.data_dir_unwritable"); x.Evidence["reason"] != "not-a-directory" || x.Evidence["component"] != f.data() {
		t.Errorf("%+v", x.Evidence)
	}

	// More than fits.
	f = configured(t, plain(t)+"[limits]\nmessage_size = \"9000TB\"\n")
	if r := only(f.config); !has(r.Findings, "env.disk_full") {
		t.Skipf("sizes end below: %v", bad(r))
	}
}

func TestDataDirOpenToOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights are not modes there")
	}
	for mode, want := range map[os.FileMode]diag.Status{0o700: "", 0o750: "", 0o755: diag.Warn, 0o707: diag.Fail} {
		f := configured(t, plain(t))
		if err := os.Mkdir(f.data(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(f.data(), mode); err != nil {
			t.Fatal(err)
		}
		r := examine(t, Options{ConfigFile: f.config, Only: []string{"environment"}})
		var got diag.Status
		for _, x := range r.Findings {
			if x.ID == "env.data_dir_open" {
				got = x.Status
			}
		}
		if got != want {
			t.Errorf("mode %o: %q, want %q", mode, got, want)
		}
	}
}

func TestDiskAndFiles(t *testing.T) {
	c := newCase(Options{ConfigFile: configured(t, plain(t)).config}, nil)
	for size, want := range map[int64]string{1: "", 1 << 60: "config.message_size_high"} {
		c.Config.Limits.MessageSize = size
		fs := c.room()
		renders(t, fs)
		if got := strings.Join(idsOf(fs, diag.Fail, diag.Warn), " "); got != want {
			t.Errorf("messages of %d: %s, want %s", size, got, want)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	c.Config.Limits.Connections = 1 << 40
	fs := c.fileLimit()
	renders(t, fs)
	if len(idsOf(fs, diag.Warn)) != 1 {
		t.Skip("files are unlimited here")
	}
}

func TestClockBeforeBuild(t *testing.T) {
	built := time.Now().Add(time.Hour)
	r := examine(t, Options{ConfigFile: configured(t, plain(t)).config, Only: []string{"environment"}, Built: built})
	if d := cmp.Diff([]string{"env.clock_wrong"}, bad(r)); d != "" {
		t.Error(d)
	}
}

func TestLocation(t *testing.T) {
	for dir, want := range map[string]string{
		"/home/taro/OneDrive - Example/mail": "OneDrive", "/home/taro/Dropbox/x": "Dropbox", `/Users/taro/Library/Mobile Documents/com~apple~CloudDocs/m`: "iCloud Drive",
		"/srv/mail": "", "/srv/dropboxes": "",
	} {
		if got := syncFolder(dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
	if !underAny("/usr/lib/mailsrv", systemDirs()) && runtime.GOOS != "windows" {
		t.Error("/usr/lib is a system directory")
	}
	if underAny("/usr/library", []string{"/usr/lib"}) || !underAny("/a/b", []string{"/a/b"}) {
		t.Error("a name that begins alike is not below")
	}
}

// The server took an address when it started; the machine has got another one.
func TestAddressChanged(t *testing.T) {
	f := onePort(t, "smtp", "192.0.2.1:2525")
	running(t, f.data(), store.RunAddr{Service: "smtp", Addr: "192.0.2.1:2525"})
	run := func(own ...netip.Addr) []diag.Finding {
		c := newCase(Options{ConfigFile: f.config}, nil)
		c.Addresses = own
		fs := c.addressChanged()
		renders(t, fs)
		return fs
	}
	x := find(t, run(netip.MustParseAddr("192.0.2.9")), "env.address_changed")
	if d := cmp.Diff(diag.Evidence{"address": "192.0.2.1", "settings": []string{"listen.smtp"}, "own": []string{"192.0.2.9"}}, x.Evidence); d != "" || x.Status != diag.Warn {
		t.Error(d, x.Status)
	}
	if fs := run(netip.MustParseAddr("192.0.2.1")); len(fs) != 0 {
		t.Errorf("%+v", fs)
	}
	if fs := run(); len(fs) != 0 { // own addresses unknown
		t.Errorf("%+v", fs)
	}
}
