// Package doctor examines this machine and its mailsrv: what keeps it from
// serving mail, why, and what to do about it.
//
// Each check is one file: a Check registered by its init function, with the
// stage from which it runs, its own time limit, the checks whose findings it
// builds on, and a function from evidence to findings. The frame in run.go lets
// them run side by side, survives one that hangs or crashes, leaves out what
// only follows from another finding, and puts the likeliest root cause first.
//
// Reading changes nothing. The two things that the loop check makes, a
// short-lived account and one message in its mailbox, are gone when it ends.
package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/diag/relaytest"
	"mailsrv/probes/dial"
	"mailsrv/probes/host"
	"mailsrv/probes/mta"
)

// Stage is how far from the server machine a check looks. The stages follow the
// order that finds faults fastest.
type Stage int

// The stages.
const (
	Local    Stage = iota // the server machine itself, over loopback
	LAN                   // its own addresses, as other machines see them
	Internet              // resolvers, mail hosts
)

var stageNames = []string{"local", "lan", "internet"}

func (s Stage) String() string { return stageNames[s] }

// ParseStage reads the name of a stage.
func ParseStage(s string) (Stage, error) {
	i := slices.Index(stageNames, s)
	if i < 0 {
		return 0, fmt.Errorf("%q is no stage: want %s", s, strings.Join(stageNames, ", "))
	}
	return Stage(i), nil
}

// Options say what to examine. The zero value looks at the default
// configuration at stage local.
type Options struct {
	ConfigFile string // as config.Find returns it; empty: the defaults
	Stage      Stage
	Only, Skip []string // names of checks; Only wins over the stage

	Host  string // a server elsewhere to look at instead of this machine; name or address
	Login Login  // how to log in there; without a user nobody logs in

	Spools    []string         // mbox spools to look at instead of the usual places
	Domains   []string         // to look at instead of those of the configuration
	Resolvers []netip.AddrPort // instead of the configured or the system's
	DialMap   *dial.Map        // tests and labs: where connections to other machines lead
	Expect    []netip.Addr     // public addresses of this server
	RootCAs   *x509.CertPool   // nil: the system's
	Timeout   time.Duration    // of one network step; 0: 5 s
	Ignore    []Ignore         // besides those of the configuration

	ReachTargets []string  // hosts to try for outgoing port 25 instead of large providers
	SendMatrix   []string  // addresses elsewhere to try to send to; asks for the check matrix
	Now          time.Time // zero: now
	Built        time.Time // when this program was built; zero: unknown

	// Progress hears of each check that ends: how many have, of how many, and
	// which still run. Nil: nobody wants to know.
	Progress func(done, total int, running []string)

	// Foreign finds the mail servers of other makers; nil: on this machine.
	Foreign func(context.Context) []mta.Server

	addresses *[]netip.Addr      // of this machine, in tests
	volume    func(*host.Volume) // changes what is known of the disk, in tests

	// The server's rooms that a judge may not enter come as functions.

	// Policy asks the relay rules, offline, what the configuration under
	// examination does with a stranger's try.
	Policy func(relaytest.Try) relaytest.Verdict
	// TempAccount makes an account that ends by itself after ttl, and returns
	// how to log in and how to remove it together with its mailbox.
	TempAccount func(ttl time.Duration) (TempAccount, error)
}

// TempAccount is a short-lived account for the loop check.
type TempAccount struct {
	Address, Password string
	Remove            func() error
}

// Ignore silences a finding of that id, and subject unless that is empty.
type Ignore struct {
	ID, Subject, Reason string
	Until               time.Time // last day; zero: for ever
}

// DefaultTimeout is the limit of one network step.
const DefaultTimeout = 5 * time.Second

// Check is one thing that doctor can look at.
type Check struct {
	Name  string
	Stage Stage         // the first stage at which it runs
	Limit time.Duration // of the whole check
	After []string      // checks that must have ended: their findings decide whether this one makes sense
	// Because lists the findings that leave nothing to find here: the check is
	// not run, and says which one it was.
	Because []string
	// Asked tells whether the options ask for a check that does not run by
	// itself; nil: it does.
	Asked func(Options) bool
	Run   func(context.Context, *Case) []diag.Finding
}

// order is that of the report: nearest to the cause first.
var order = []string{
	"environment", "config", "ports", "hostname", "resolver", "domains", "reach", "relay", "auth",
	"accounts", "mailboxes", "locks", "mbox", "queue", "certificates", "logs", "crash", "loop", "foreign", "matrix",
}

var registered = map[string]Check{}

func register(c Check) {
	if !slices.Contains(order, c.Name) || registered[c.Name].Run != nil {
		panic("doctor: check " + c.Name + " has no place in the order, or two")
	}
	registered[c.Name] = c
}

// Checks lists all checks in the order of the report.
func Checks() []Check {
	var out []Check
	for _, name := range order {
		if c, ok := registered[name]; ok {
			out = append(out, c)
		}
	}
	return out
}

// Report is the document of doctor.
type Report struct {
	Stage    string         `json:"stage"`
	Host     string         `json:"host,omitempty"` // a server elsewhere; else this machine
	Config   string         `json:"config,omitempty"`
	Server   Server         `json:"server"`
	Checks   []CheckResult  `json:"checks"`
	Findings []diag.Finding `json:"findings"`
	Fixed    []Fixed        `json:"fixed,omitempty"`
	Ignored  int            `json:"ignored"`
	Summary  diag.Summary   `json:"summary"`

	named []string // checks that the caller asked for
}

// Server says whether a mailsrv runs on the data directory.
type Server struct {
	Running bool   `json:"running"`
	Hidden  bool   `json:"hidden,omitempty"` // it seems to run as another user; this one may not look
	PID     int    `json:"pid,omitempty"`
	Version string `json:"version,omitempty"`
}

// CheckResult is how one check ended: with the worst status of its findings, or
// info where there was nothing for it to look at. Why is then "nothing", and of
// a check that was not made the finding that says why.
type CheckResult struct {
	Name   string      `json:"name"`
	Ms     float64     `json:"ms"`
	Status diag.Status `json:"status"`
	Why    string      `json:"why,omitempty"`
}

// Named tells whether the caller asked for certain checks.
func (r *Report) Named() bool { return len(r.named) > 0 }

// Exit codes of a diagnosis.
const (
	ExitHealthy = 0
	ExitFailed  = 1
	ExitUnknown = 3
)

// ExitCode is the exit code that agrees with the report: 1 for a failure (and
// with strict for a warning), 3 when nothing failed but a check that the caller
// named could not be made.
func (r *Report) ExitCode(strict bool) int {
	if r.Summary.Fail > 0 || strict && r.Summary.Warn > 0 {
		return ExitFailed
	}
	if r.Summary.Warn == 0 && (len(r.named) > 0 || r.Host != "") {
		skipped := slices.ContainsFunc(r.Checks, func(c CheckResult) bool { return c.Status == diag.Skip && slices.Contains(r.named, c.Name) })
		if skipped || r.Summary.OK+r.Summary.Info == 0 {
			return ExitUnknown
		}
	}
	return ExitHealthy
}
