package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/codes"
	"mailsrv/diag/report"
	"mailsrv/diag/simulate"
	"mailsrv/probes/dial"
	"mailsrv/probes/port"
)

func init() { commands = append(commands, simulateCommand) }

// simulateRun holds the flags of simulate.
type simulateRun struct {
	*app
	list, once bool
	listen     string

	mu sync.Mutex // connections write side by side
}

func simulateCommand(a *app) *cobra.Command {
	s := &simulateRun{app: a}
	cmd := &cobra.Command{
		Use:   "simulate ID",
		Short: "Play a known failure of a mail server on loopback",
		Long: `Play a known failure of a mail server on loopback: a locked mailbox, a reset in
the middle of a message, an expired certificate, a resolver that lies. Point a
mail program, a monitor or mailsrv itself at it and see what they make of it.

The first line says where it listens, then which command of mailsrv names the
cause. Each connection, or question to a resolver, is one line on standard error;
-v adds what is said, without passwords. Nothing is stored or sent anywhere.
Ctrl-C ends it.`,
		Example: `  mailsrv simulate --list
  mailsrv simulate pop3-lock-busy
  mailsrv simulate smtp-greylisted --listen 127.0.0.1:2525 -v
  mailsrv simulate tls-expired --once`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return simulationIDs(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&s.list, "list", false, "list what can be played; with -v also what a diagnosis must name")
	f.StringVar(&s.listen, "listen", "127.0.0.1:0", "where to listen, `ADDR:PORT`; port 0 is a free one")
	f.BoolVar(&s.once, "once", false, "end after one connection")
	return cmd
}

func (s *simulateRun) run(cmd *cobra.Command, args []string) error {
	if s.list {
		if len(args) > 0 {
			return usagef("simulate --list takes no names")
		}
		return s.printList()
	}
	if len(args) != 1 {
		return usagef("simulate: want one name; mailsrv simulate --list shows them")
	}
	sim := codes.SimulationOf(args[0])
	if sim == nil {
		if near := codes.SuggestSimulations(args[0], 3); len(near) > 0 {
			return usagef("simulate: %q is unknown; did you mean %s?", args[0], strings.Join(near, ", "))
		}
		return usagef("simulate: %q is unknown; mailsrv simulate --list shows the names", args[0])
	}
	addr, err := listenAddress(s.listen)
	if err != nil {
		return err
	}
	srv, err := simulate.Start(sim, simulate.Options{Listen: addr.String(), Once: s.once, Log: s.log, Dialogue: s.dialogue()})
	if err != nil {
		return cannotPlay(cmd.Context(), addr, err)
	}
	defer srv.Close()
	if err := s.announce(sim, srv.Addr); err != nil {
		return err
	}
	if !addr.Addr().IsLoopback() {
		s.log("other machines can reach " + srv.Addr)
	}
	select {
	case <-cmd.Context().Done():
	case <-srv.Done():
	}
	return nil
}

// listenAddress reads --listen. A port alone is one of loopback: only an
// address that is named opens the door to others.
func listenAddress(flag string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(flag)
	if err == nil && (host == "" || host == "localhost") {
		host = "127.0.0.1"
	}
	addr, perr := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil || perr != nil {
		return addr, usagef("--listen %q: want ADDR:PORT, such as 127.0.0.1:1110", flag)
	}
	return addr, nil
}

// cannotPlay says why it cannot be played, and who holds the port.
func cannotPlay(ctx context.Context, addr netip.AddrPort, err error) error {
	if errors.Is(err, simulate.ErrCannotPlay) {
		return &exitError{exitUnknown, err}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	holder := ""
	all, _ := port.Listeners(ctx) // unknown holders are not named
	for _, h := range port.Holding(all, addr.String()) {
		holder = fmt.Sprintf("; %s (process %d) is there", h.Process.Program, h.Process.PID)
	}
	if how := dial.Outcome(err); how == dial.InUse || how == dial.Denied {
		holder += "; --listen " + netip.AddrPortFrom(addr.Addr(), 0).String() + " takes a free port"
	}
	return usagef("%w (Winsock %d)%s", err, dial.Winsock(err), holder)
}

// announce says where it listens, and what to try. It is written at once, so
// that a program may go away after the first line.
func (s *simulateRun) announce(sim *codes.Simulation, addr string) error {
	if s.json {
		return report.JSON(s.stdout, map[string]string{"listening": addr, "id": sim.ID}, false)
	}
	text := "listening " + addr + "\n"
	if !s.quiet {
		text += s.lang.Pick("plays      ", "再現  ") + sim.Title(s.lang) + "\n" +
			s.lang.Pick("try        ", "確認  ") + tryCommand(sim, addr) + "\n" +
			s.lang.Pick("diagnosis  ", "診断  ") + sim.Names() + "\n"
	}
	_, err := fmt.Fprint(s.stdout, text)
	return err
}

// tryCommand is the command that names the cause, as it would be typed on this
// machine.
func tryCommand(sim *codes.Simulation, addr string) string {
	if ap, err := netip.ParseAddrPort(addr); err == nil && ap.Addr().IsUnspecified() {
		loopback := netip.IPv6Loopback()
		if ap.Addr().Is4() {
			loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		addr = netip.AddrPortFrom(loopback, ap.Port()).String()
	}
	command := "mailsrv " + strings.ReplaceAll(sim.Try, "ADDR", addr)
	if strings.Contains(command, "--password-stdin") {
		command = "echo secret | " + command
	}
	return command
}

func (s *simulateRun) log(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.stderr, line)
}

func (s *simulateRun) dialogue() func(n int, from, words string) {
	if !s.verbose {
		return nil
	}
	return func(n int, from, words string) { s.log(fmt.Sprintf("  %d %s: %s", n, from, words)) }
}

// simulationRow is one line of --list --json.
type simulationRow struct {
	ID       string `json:"id"`
	Protocol string `json:"protocol"`
	Title    string `json:"title"`
	Cause    string `json:"cause,omitempty"`
	Finding  string `json:"finding,omitempty"`
	Try      string `json:"try"`
}

func (s *simulateRun) printList() error {
	rows := []simulationRow{}
	width := 0
	for _, sim := range codes.Simulations() {
		rows = append(rows, simulationRow{sim.ID, sim.Protocol, sim.Title(s.lang), sim.Cause, sim.Finding, "mailsrv " + sim.Try})
		width = max(width, len(sim.ID))
	}
	if s.json {
		return report.JSON(s.stdout, rows, true)
	}
	p := s.printer()
	for i, r := range rows {
		if i > 0 && prefixOf(r.ID) != prefixOf(rows[i-1].ID) {
			p.Blank()
		}
		title := r.Title
		if s.verbose {
			title += " " + p.Faint("→ "+r.Cause+r.Finding)
		}
		p.Labelled(0, r.ID, width+2, title)
	}
	return nil
}

func prefixOf(id string) string {
	prefix, _, _ := strings.Cut(id, "-")
	return strings.TrimSuffix(prefix, "s") // pop3s goes with pop3
}

func simulationIDs() []string {
	var out []string
	for _, sim := range codes.Simulations() {
		out = append(out, sim.ID)
	}
	return out
}
