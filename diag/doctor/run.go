package doctor

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"mailsrv/diag"
)

// grace is how long a check may take to notice that its limit is over.
const grace = 500 * time.Millisecond

// Run examines and reports. The error is about the options.
func Run(ctx context.Context, opt Options) (*Report, error) {
	selected, err := choose(opt)
	if err != nil {
		return nil, err
	}
	c := newCase(opt, selected)
	c.findSite(ctx)
	results := runAll(ctx, c, selected)

	r := &Report{Stage: opt.Stage.String(), Host: opt.Host, named: opt.Only, Findings: []diag.Finding{}, Checks: []CheckResult{}}
	if opt.Host == "" {
		r.Config, r.Server = c.Config.File, Server{Running: c.Running, Hidden: c.Hidden}
	}
	if c.Running && opt.Host == "" {
		r.Server.PID, r.Server.Version = c.Server.PID, c.Server.Version
	}
	results = consequences(results)
	for i, x := range results {
		var n int
		results[i].findings, n = silence(x.findings, c.ignores(), c.Now)
		r.Ignored += n
		r.Checks = append(r.Checks, results[i].summary())
		r.Findings = append(r.Findings, results[i].findings...)
	}
	r.Findings = mergeSkipped(unique(r.Findings))
	if opt.Host != "" {
		r.Findings = onlyFirst(r.Findings)
	}
	sortFindings(r.Findings)
	r.Summary = diag.Summarize(r.Findings)
	return r, nil
}

// sortFindings puts what to repair first in front. What was only not tried
// because of something else comes last among what is not known.
func sortFindings(fs []diag.Finding) {
	slices.SortStableFunc(fs, func(a, b diag.Finding) int {
		switch a, b := a.ID == "check.skipped", b.ID == "check.skipped"; {
		case a && !b:
			return 1
		case b && !a:
			return -1
		}
		return 0
	})
	diag.Sort(fs)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// choose picks the checks to run.
func choose(opt Options) ([]Check, error) {
	all, of := Checks(), ""
	if opt.Host != "" {
		all, of = hostChecks, " of another host"
	}
	for _, name := range slices.Concat(opt.Only, opt.Skip) {
		if !slices.ContainsFunc(all, func(c Check) bool { return c.Name == name }) {
			return nil, fmt.Errorf("there is no check %q%s: doctor --list names them", name, of)
		}
	}
	var out []Check
	for _, c := range all {
		wanted := c.Stage <= opt.Stage && c.Asked == nil || c.Asked != nil && c.Asked(opt)
		if len(opt.Only) > 0 {
			wanted = slices.Contains(opt.Only, c.Name)
		}
		if wanted && !slices.Contains(opt.Skip, c.Name) {
			out = append(out, c)
		}
	}
	return out, nil
}

type result struct {
	check    Check
	findings []diag.Finding
	idle     bool // there was nothing for the check to look at
	took     time.Duration
}

// summary is the check's line in the list of checks.
func (x result) summary() CheckResult {
	r := CheckResult{Name: x.check.Name, Ms: ms(x.took), Status: worst(x.findings)}
	switch {
	case r.Status == diag.Skip:
		for _, f := range x.findings {
			if f.Status == diag.Skip {
				if r.Why = f.ID; f.ID == "check.skipped" {
					r.Why = fmt.Sprint(f.Evidence["because"])
				}
				break
			}
		}
	case x.idle && r.Status == diag.OK:
		r.Status, r.Why = diag.Info, "nothing"
	}
	return r
}

// nothing is what a check returns, alone or beside a note, when there is
// nothing here for it to look at: neither ok nor a fault.
var nothing = diag.Finding{}

// runAll runs the checks side by side; each begins when those it builds on have
// ended.
func runAll(ctx context.Context, c *Case, checks []Check) []result {
	results := make([]result, len(checks))
	ended := map[string]chan struct{}{}
	for _, check := range checks {
		ended[check.Name] = make(chan struct{})
	}
	var wg sync.WaitGroup
	count := counter{total: len(checks), tell: c.Progress}
	for i, check := range checks {
		wg.Go(func() {
			defer close(ended[check.Name])
			defer count.ended(check.Name)
			for _, name := range check.After {
				if first, ok := ended[name]; ok {
					<-first
				}
			}
			count.began(check.Name)
			began := time.Now()
			fs, idle := runOne(ctx, c, check)
			results[i] = result{check, fs, idle, time.Since(began)}
			c.add(fs)
		})
	}
	wg.Wait()
	return results
}

// counter tells how far the checks are.
type counter struct {
	mu      sync.Mutex
	total   int
	done    int
	running []string
	tell    func(done, total int, running []string)
}

func (k *counter) began(name string) { k.note(func() { k.running = append(k.running, name) }) }

func (k *counter) ended(name string) {
	k.note(func() {
		k.done++
		k.running = slices.DeleteFunc(k.running, func(n string) bool { return n == name })
	})
}

func (k *counter) note(change func()) {
	if k.tell == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
	k.tell(k.done, k.total, slices.Clone(k.running))
}

// runOne runs a check within its limit and survives whatever it does.
func runOne(ctx context.Context, c *Case, check Check) (fs []diag.Finding, idle bool) {
	if id := c.Has(check.Because...); id != "" {
		return skipped(check.Name, id), false
	}
	limited, cancel := context.WithTimeout(ctx, check.Limit)
	defer cancel()
	done := make(chan []diag.Finding, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				c := crashed(p)
				done <- []diag.Finding{diag.New("check.crashed", check.Name, diag.Evidence{"panic": fmt.Sprint(c.value), "at": c.at})}
			}
		}()
		fs := check.Run(limited, c)
		if limited.Err() != nil && ctx.Err() == nil {
			fs = append(withoutOK(fs), timedOut(check))
		}
		done <- fs
	}()
	hung := time.NewTimer(check.Limit + grace)
	defer hung.Stop()
	select {
	case fs = <-done:
	case <-hung.C:
		// It hangs in something that knows no deadline; the process that ends
		// soon takes it along.
		fs = []diag.Finding{timedOut(check)}
	}
	n := len(fs)
	fs = slices.DeleteFunc(fs, func(f diag.Finding) bool { return f.ID == "" })
	idle = len(fs) < n
	if !idle && healthy(fs) {
		fs = append(fs, diag.New(check.Name+".ok", "", c.okEvidence(check.Name)))
	}
	return fs, idle
}

func timedOut(check Check) diag.Finding {
	return diag.New("check.timeout", check.Name, diag.Evidence{"limit_s": check.Limit.Seconds()})
}

func withoutOK(fs []diag.Finding) []diag.Finding {
	return slices.DeleteFunc(fs, func(f diag.Finding) bool { return f.Status == diag.OK })
}

// healthy tells whether a check found nothing wrong and could see everything,
// and has not said so itself.
func healthy(fs []diag.Finding) bool {
	return !slices.ContainsFunc(fs, func(f diag.Finding) bool { return f.Status != diag.Info })
}

func worst(fs []diag.Finding) diag.Status {
	for _, s := range []diag.Status{diag.Fail, diag.Warn, diag.Skip} {
		if slices.ContainsFunc(fs, func(f diag.Finding) bool { return f.Status == s }) {
			return s
		}
	}
	return diag.OK
}

// crash is a panic and where it happened.
type crash struct {
	value any
	at    string
}

// crashed is what a deferred function has recovered, here or in a goroutine of
// parallel.
func crashed(p any) crash {
	if c, ok := p.(crash); ok {
		return c
	}
	return crash{p, crashPlace()}
}

// parallel runs f for 0 to n-1 side by side. A panic of one of them becomes one
// of the caller, whose check then is the one that crashed.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	first := make(chan crash, n)
	for i := range n {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					first <- crashed(p)
				}
			}()
			f(i)
		})
	}
	wg.Wait()
	select {
	case c := <-first:
		panic(c)
	default:
	}
}

// crashPlace is the line of ours at which the panic began that is being
// recovered.
func crashPlace() string {
	pcs := make([]uintptr, 50)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for panicked := false; ; {
		f, more := frames.Next()
		if panicked && strings.HasPrefix(f.Function, "mailsrv/") {
			return fmt.Sprintf("%s:%d", path.Base(f.File), f.Line)
		}
		panicked = panicked || f.Function == "runtime.gopanic"
		if !more {
			return ""
		}
	}
}

// skipped says that a check was not made because of another finding.
func skipped(check, because string) []diag.Finding {
	return []diag.Finding{diag.New("check.skipped", check, diag.Evidence{"because": because})}
}

// mergeSkipped makes one finding of the checks that were left out for the same
// reason.
func mergeSkipped(fs []diag.Finding) []diag.Finding {
	at := map[any]int{}
	var out []diag.Finding
	for _, f := range fs {
		if f.ID == "check.skipped" {
			because := f.Evidence["because"]
			if i, ok := at[because]; ok {
				out[i].Subject += ", " + f.Subject
				continue
			}
			at[because] = len(out)
		}
		out = append(out, f)
	}
	return out
}

// unique keeps the first finding of an id and subject.
func unique(fs []diag.Finding) []diag.Finding {
	seen := map[string]bool{}
	return slices.DeleteFunc(fs, func(f diag.Finding) bool {
		key := f.ID + "\x00" + f.Subject
		was := seen[key]
		seen[key] = true
		return was
	})
}

// silence takes out what is ignored, and counts it. An ok cannot be ignored.
func silence(fs []diag.Finding, ignores []Ignore, now time.Time) ([]diag.Finding, int) {
	before := len(fs)
	fs = slices.DeleteFunc(fs, func(f diag.Finding) bool {
		return f.Status != diag.OK && slices.ContainsFunc(ignores, func(i Ignore) bool {
			return i.ID == f.ID && (i.Subject == "" || i.Subject == f.Subject) && (i.Until.IsZero() || now.Before(i.Until.AddDate(0, 0, 1)))
		})
	})
	return fs, before - len(fs)
}
