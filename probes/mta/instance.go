package mta

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mailsrv/probes/host"
	"mailsrv/probes/port"
)

// is tells whether a process is one of the product.
func is(p host.Process, product string) bool {
	known, ok := port.Holder{Process: p}.Product()
	return ok && known.Name == product
}

// instance is one running set of a product's processes with a configuration of
// its own: Postfix and Dovecot can run several times on one machine.
type instance struct {
	config string // what it was started with; empty: the usual place, or not to be seen
	pids   []int  // of its main processes
	alone  bool   // it is the product's only one here
}

// instances are those of a product that run; where none does, the one of the
// usual place. The configuration is the value of a variable of the main
// process's environment, or what follows an option on its command line.
func (s System) instances(product, variable, option string) []instance {
	var out []instance
	for _, p := range s.Processes(programs[product]...) {
		if !is(p, product) {
			continue
		}
		config := s.startedWith(p.PID, variable, option)
		i := slices.IndexFunc(out, func(in instance) bool { return in.config == config })
		if i < 0 {
			i, out = len(out), append(out, instance{config: config})
		}
		out[i].pids = append(out[i].pids, p.PID)
	}
	switch len(out) {
	case 0:
		return []instance{{alone: true}}
	case 1:
		out[0].alone = true
	}
	return out
}

func (s System) startedWith(pid int, variable, option string) string {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	if data, err := os.ReadFile(s.file(filepath.Join(dir, "environ"))); err == nil && variable != "" {
		for setting := range strings.SplitSeq(string(data), "\x00") {
			if value, ok := strings.CutPrefix(setting, variable+"="); ok {
				return value
			}
		}
	}
	if data, err := os.ReadFile(s.file(filepath.Join(dir, "cmdline"))); err == nil && option != "" {
		words := strings.Split(string(data), "\x00")
		for i, w := range words[:len(words)-1] {
			if w == option {
				return words[i+1]
			}
		}
	}
	return ""
}

// has tells whether a main process is one of the instance's.
func (in instance) has(pid int) bool { return in.alone || slices.Contains(in.pids, pid) }
