//go:build interop

package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/mta"
	"mailsrv/probes/port"
)

// Debian's Postfix and Dovecot, on loopback and ports of their own.
const (
	mainCF = `compatibility_level = 3.6
queue_directory = $DIR/spool
data_directory = $DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.example.com
mydestination = example.com, localhost
mynetworks = 127.0.0.0/8 [::1]/128
inet_interfaces = 127.0.0.1
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
alias_maps =
alias_database =
maillog_file = $DIR/maillog
maillog_file_prefixes = $DIR
relayhost = [127.0.0.1]:1
`
	masterCF = `127.0.0.1:$SMTP inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`
	dovecotConf = `base_dir = $DIR/run
log_path = $DIR/log
protocols = imap pop3
ssl = no
mail_location = maildir:$DIR/mail/%u
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=$DIR/mail/%u
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = $IMAP
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  inet_listener pop3 {
    address = 127.0.0.1
    port = $POP3
  }
  inet_listener pop3s {
    port = 0
  }
}
`
)

// open is a folder that the users of the servers can get at.
func open(t *testing.T) string {
	dir, err := os.MkdirTemp("", "doctor-interop")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// needs skips where a server cannot be started.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("starting a mail server takes root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatal(err)
		}
	}
}

func portOf(t *testing.T) string {
	_, number, _ := strings.Cut(freeAddr(t), ":")
	return number
}

// postfix starts one, with lines put after those of a healthy one, and returns
// its SMTP port and its main.cf.
func postfix(t *testing.T, lines string) (number, file string) {
	t.Helper()
	needs(t, "postfix", "postconf")
	dir := open(t)
	number = portOf(t)
	fill := strings.NewReplacer("$DIR", dir, "$SMTP", number)
	file = filepath.Join(dir, "conf", "main.cf")
	write(t, file, fill.Replace(mainCF)+lines)
	write(t, filepath.Join(dir, "conf", "master.cf"), fill.Replace(masterCF))
	must(t, os.Chmod(filepath.Join(dir, "conf"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "spool"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "data"), 0o755))
	must(t, exec.Command("chown", "postfix", filepath.Join(dir, "data")).Run())
	if err := exec.Command("postfix", "-c", filepath.Dir(file), "start").Run(); err != nil { // it keeps what a pipe would wait for
		log, _ := os.ReadFile(filepath.Join(dir, "maillog"))
		t.Fatalf("postfix start: %v\n%s", err, log)
	}
	t.Cleanup(func() {
		// "postfix stop" wants a configuration that it can read.
		data, err := os.ReadFile(filepath.Join(dir, "spool", "pid", "master.pid"))
		must(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		must(t, err)
		must(t, syscall.Kill(pid, syscall.SIGTERM))
		for range 500 {
			if syscall.Kill(pid, 0) != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("Postfix, process %d, does not end", pid)
	})
	answers(t, number)
	return number, file
}

// dovecot starts one and returns its configuration file.
func dovecot(t *testing.T, lines string) (file string) {
	t.Helper()
	needs(t, "dovecot", "doveconf")
	dir := open(t)
	imap := portOf(t)
	file = write(t, filepath.Join(dir, "dovecot.conf"), strings.NewReplacer("$DIR", dir, "$IMAP", imap, "$POP3", portOf(t)).Replace(dovecotConf)+lines)
	cmd := exec.Command("dovecot", "-F", "-c", file)
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Signal(os.Interrupt))
		_ = cmd.Wait() // how it ends is not what is tested
	})
	answers(t, imap)
	return file
}

// answers waits until a port does.
func answers(t *testing.T, number string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+number)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// onlyOthers examines a machine without mailsrv; change may change what is
// found out about the servers.
func onlyOthers(t *testing.T, change func(*Options)) *Report {
	t.Helper()
	t.Chdir(t.TempDir())
	opt := Options{Stage: Local, Spools: []string{t.TempDir()}, Skip: []string{"ports"}, Timeout: 5 * time.Second, Foreign: mta.System{}.Find}
	if change != nil {
		change(&opt)
	}
	// Other packages' tests may run servers at the same time.
	find := opt.Foreign
	opt.Foreign = func(ctx context.Context) []mta.Server {
		return slices.DeleteFunc(find(ctx), func(s mta.Server) bool { return !strings.Contains(s.ConfigDir, "/doctor-interop") })
	}
	return examine(t, opt)
}

func wants(t *testing.T, r *Report, ids ...string) {
	t.Helper()
	if d := cmp.Diff(append([]string{}, ids...), bad(r)); d != "" {
		t.Errorf("%s %+v", d, r.Findings)
	}
}

// Healthy servers: nothing to complain of.
func TestInteropHealthy(t *testing.T) {
	postfix(t, "")
	dovecot(t, "")
	r := onlyOthers(t, nil)
	wants(t, r)
	if d := cmp.Diff([]string{mta.Postfix, mta.Dovecot}, subjectsOf(r.Findings, "foreign.found")); d != "" {
		t.Error(d)
	}
}

func TestInteropPostfixFaults(t *testing.T) {
	for _, tt := range []struct{ name, lines, after, want string }{
		{"mynetworks is everybody", "mynetworks = 0.0.0.0/0\n", "", "relay.open"},
		{"wide network", "mynetworks = 127.0.0.0/8 198.51.0.0/16\n", "", "relay.network_wide"},
		{"permit before reject", "smtpd_relay_restrictions = permit, reject_unauth_destination\n", "", "relay.open"},
		{"main.cf does not parse", "", "this is no setting\n", "foreign.config_broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, file := postfix(t, tt.lines)
			if tt.after != "" {
				data, err := os.ReadFile(file)
				must(t, err)
				write(t, file, string(data)+tt.after)
			}
			r := onlyOthers(t, nil)
			wants(t, r, tt.want)
			if f := find(t, r.Findings, tt.want); f.Evidence["server"] != mta.Postfix {
				t.Errorf("%+v", f)
			}
		})
	}
}

// A message that does not go out, seen nine hours later.
func TestInteropPostfixStuck(t *testing.T) {
	number, file := postfix(t, "")
	must(t, smtp.SendMail("127.0.0.1:"+number, nil, "taro@example.com", []string{"hanako@example.net"}, []byte("Subject: stuck\r\n\r\nhello\r\n")))
	tried := func() bool {
		out, err := exec.Command("postqueue", "-c", filepath.Dir(file), "-j").Output()
		return err == nil && strings.Contains(string(out), "delay_reason")
	}
	for end := time.Now().Add(60 * time.Second); !tried(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the message was never tried")
		}
	}
	wants(t, onlyOthers(t, nil))
	r := onlyOthers(t, func(o *Options) { o.Now = time.Now().Add(9 * time.Hour) })
	wants(t, r, "queue.stuck")
	if f := find(t, r.Findings, "queue.stuck"); f.Subject != "example.net" || f.Evidence["cause"] != "connect-refused" {
		t.Errorf("%+v", f)
	}
}

func TestInteropDovecotFaults(t *testing.T) {
	file := dovecot(t, "disable_plaintext_auth = no\n")
	wants(t, onlyOthers(t, nil)) // on loopback nobody reads along
	// The same at an address that others reach: only what is known of the
	// sockets is changed.
	outside := func(o *Options) {
		o.Foreign = func(ctx context.Context) []mta.Server {
			return mta.System{Listeners: func(ctx context.Context) ([]port.Holder, error) {
				all, err := port.Listeners(ctx)
				for i, h := range all {
					if h.Process.Program == "dovecot" {
						all[i].Local = netip.MustParseAddrPort("0.0.0.0:143")
					}
				}
				return all, err
			}}.Find(ctx)
		}
	}
	r := onlyOthers(t, outside)
	wants(t, r, "auth.cleartext")
	if f := find(t, r.Findings, "auth.cleartext"); f.Status != diag.Fail || f.Evidence["setting"] != "disable_plaintext_auth = no" {
		t.Errorf("%+v", f)
	}
	data, err := os.ReadFile(file)
	must(t, err)
	write(t, file, string(data)+"ssl = maybe\n")
	r = onlyOthers(t, nil)
	wants(t, r, "foreign.config_broken")
	if words := fmt.Sprint(find(t, r.Findings, "foreign.config_broken").Evidence["words"]); !strings.Contains(words, "maybe") {
		t.Error(words)
	}
}
