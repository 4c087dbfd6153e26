// Package mta finds the mail servers of other makers on this machine (Postfix,
// Exim, Dovecot, sendmail) and reads what they say about themselves: version,
// where they listen, whose mail they pass on, certificates, the queue, and what
// their own check complains of.
//
// It asks their own programs (postconf, doveconf, exim -bP) instead of reading
// their files, and runs only what changes nothing.
package mta

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailsrv/probes/host"
	"mailsrv/probes/port"
)

// The products.
const (
	Postfix  = "Postfix"
	Exim     = "Exim"
	Dovecot  = "Dovecot"
	Sendmail = "sendmail"
)

// Server is one mail server that is installed here.
type Server struct {
	Product   string
	Version   string
	Program   string // the program that was asked
	ConfigDir string // or the configuration file, where there is one only
	Running   bool
	PID       int // of its main process; 0 when not known
	Listen    []port.Holder

	Late      bool   // a program that was asked for the configuration did not end within Limit: what it did not say is unknown
	Complaint string // what its own check says is wrong; empty: nothing
	Hostname  string
	Domains   []string // that it takes mail for as its settings name them; tables and look-ups are left out

	// Whose mail it passes on without a login.
	Setting  string // name of the setting
	Networks []netip.Prefix
	Anyone   string // an entry that is everybody: "*"
	Open     string // a setting that lets everybody pass, whatever the networks

	ClearAuth string // the setting that lets passwords cross the network in clear; empty: none
	Certs     []Pair
	Queue     []Waiting
	QueueErr  error // why the queue could not be read; nil also where there is none

	queueDir string
	several  bool     // it is not the only one of its product here
	options  []string // options that name a configuration other than the usual one
}

// Name is the product, with its configuration where several of it run.
func (srv Server) Name() string {
	if srv.several {
		return srv.Product + " " + srv.ConfigDir
	}
	return srv.Product
}

// Pair is a certificate file and its key.
type Pair struct{ Cert, Key string }

// Waiting is one recipient of a message in a queue.
type Waiting struct {
	ID, Sender, Recipient string
	Since                 time.Time
	Reason                string // what the last try ended with, if known
	Held                  bool   // by hand, or frozen
	Tried                 bool   // a try has failed
}

// System is where to look. The zero value is this machine.
type System struct {
	Dirs      []string // of programs; empty: PATH and the usual places of daemons
	Root      string   // of files with fixed places
	Listeners func(context.Context) ([]port.Holder, error)
	Processes func(names ...string) []host.Process
	Now       time.Time
}

// Limit is how long one program may take.
const Limit = 5 * time.Second

// Find asks all that are installed, side by side.
func (s System) Find(ctx context.Context) []Server {
	if s.Listeners == nil {
		s.Listeners = port.Listeners
	}
	if s.Processes == nil {
		s.Processes = host.Processes
	}
	if s.Now.IsZero() {
		s.Now = time.Now()
	}
	all, err := s.Listeners(ctx)
	if err != nil {
		all = nil // then nothing is known of the ports, and the rest is
	}
	type finder struct {
		find func(context.Context, instance) (Server, bool)
		of   instance
	}
	var finders []finder
	for _, in := range s.instances(Postfix, "MAIL_CONFIG", "") {
		finders = append(finders, finder{s.postfix, in})
	}
	finders = append(finders, finder{s.exim, instance{alone: true}})
	for _, in := range s.instances(Dovecot, "CONFIG_FILE", "-c") {
		finders = append(finders, finder{s.dovecot, in})
	}
	finders = append(finders, finder{s.sendmail, instance{alone: true}})
	found := make([]*Server, len(finders))
	var wg sync.WaitGroup
	for i, f := range finders {
		wg.Go(func() {
			srv, ok := f.find(ctx, f.of)
			if !ok {
				return
			}
			srv.several = !f.of.alone
			srv.attach(all, s.Processes(programs[srv.Product]...), f.of)
			if srv.Product == Postfix {
				s.postfixRuns(ctx, &srv)
			}
			found[i] = &srv
		})
	}
	wg.Wait()
	var out []Server
	for _, srv := range found {
		if srv != nil {
			out = append(out, *srv)
		}
	}
	return out
}

// programs are the names of the main processes.
var programs = map[string][]string{Postfix: {"master"}, Exim: {"exim4", "exim"}, Dovecot: {"dovecot"}, Sendmail: {"sendmail-mta", "sendmail"}}

// ports are where a product usually listens: whose a socket is cannot be seen by
// everybody.
var ports = map[string][]uint16{
	Postfix: {25, 465, 587}, Exim: {25, 465, 587}, Sendmail: {25, 465, 587}, Dovecot: {110, 143, 993, 995, 4190},
}

// attach finds the processes and sockets of one instance.
func (srv *Server) attach(all []port.Holder, running []host.Process, in instance) {
	for _, p := range running {
		if is(p, srv.Product) && in.has(p.PID) {
			srv.Running = true
			if srv.PID == 0 {
				srv.PID = p.PID
			}
		}
	}
	for _, h := range all {
		hidden := h.Process.PID == 0 && srv.Running && slices.Contains(ports[srv.Product], h.Local.Port())
		if !hidden && !(is(h.Process, srv.Product) && in.has(h.Process.PID)) {
			continue
		}
		srv.Listen = append(srv.Listen, h)
		srv.Running = true
		if srv.PID == 0 {
			srv.PID = h.Process.PID
		}
	}
}

// sbin are the usual places of daemons, which PATH often lacks.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/lib/sendmail", "/opt/homebrew/sbin", "/opt/local/sbin"}

// look finds a program.
func (s System) look(names ...string) string {
	dirs := s.Dirs
	if len(dirs) == 0 {
		dirs = append(filepath.SplitList(os.Getenv("PATH")), sbin...)
	}
	for _, name := range names {
		for _, dir := range dirs {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
				return path
			}
		}
	}
	return ""
}

func (s System) file(path string) string { return filepath.Join(s.Root, path) }

// output is what a program said.
type output struct {
	stdout, stderr string
	err            error // it could not be run, failed, or took too long
	late           bool  // it took too long
}

// maxOutput is how much of what a program says is read, in octets.
const maxOutput = 8 << 20

func run(ctx context.Context, argv ...string) output {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":"+strings.Join(sbin, ":"))
	cmd.WaitDelay = time.Second
	var out, errs limited
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return output{out.String(), errs.String(), err, ctx.Err() != nil}
}

// limited keeps the beginning of what is written to it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// complaints are the lines of a program's words that say that something is
// wrong, a few of them.
func complaints(o output, words ...string) string {
	var out []string
	more := false // the line before goes on with what is indented
	for line := range strings.Lines(o.stderr + "\n" + o.stdout) {
		text := strings.TrimSpace(line)
		lower := strings.ToLower(text)
		more = more && strings.HasPrefix(line, " ") || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(lower, w) })
		if more && text != "" && len(out) < 5 {
			out = append(out, text)
		}
	}
	if len(out) == 0 {
		var exit *exec.ExitError
		if errors.As(o.err, &exit) && exit.ExitCode() > 0 {
			return strings.TrimSpace(firstLines(o.stderr, 3))
		}
	}
	return strings.Join(out, "\n")
}

func firstLines(s string, n int) string {
	lines := strings.SplitN(strings.TrimSpace(s), "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// alive reads a pid file and tells whether a process of one of these names has
// that id.
func (s System) alive(path string, names ...string) (int, bool) {
	data, err := os.ReadFile(s.file(path))
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(firstLines(string(data), 1)))
	if err != nil {
		return 0, false
	}
	p, ok := host.ProcessOf(pid)
	return pid, ok && slices.Contains(names, p.Program)
}

// network reads one entry of a list of clients: an address, a network, or a
// wildcard for everybody. ok is false for names and tables.
func network(s string) (p netip.Prefix, everybody, ok bool) {
	s = strings.Trim(s, `"`)
	if s == "*" || s == "0.0.0.0/0" || s == "::/0" || s == "[::]/0" {
		return netip.Prefix{}, true, true
	}
	addr, bits, cut := strings.Cut(s, "/")
	addr = strings.Trim(addr, "[]")
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}, false, false
	}
	n := a.BitLen()
	if cut {
		if n, err = strconv.Atoi(bits); err != nil || n < 0 || n > a.BitLen() {
			return netip.Prefix{}, false, false
		}
	}
	if a.Is4In6() && n >= 96 {
		a, n = a.Unmap(), n-96
	}
	return netip.PrefixFrom(a, n).Masked(), false, true
}

// trust notes a list of clients.
func (srv *Server) trust(setting string, entries []string) {
	srv.Setting = setting
	for _, e := range entries {
		if strings.HasPrefix(e, "!") {
			continue // who is left out makes the rest no wider
		}
		p, everybody, ok := network(e)
		switch {
		case everybody:
			srv.Anyone = e
		case ok && !slices.Contains(srv.Networks, p):
			srv.Networks = append(srv.Networks, p)
		}
	}
}
