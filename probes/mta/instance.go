package mta

import (
	"os"
	"path/filepath"
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

// startedWith is the configuration that the running server of a product was
// started with, where that is not the usual one: the value of a variable of its
// environment, or what follows an option on its command line. Empty where it
// does not run, or cannot be seen.
func (s System) startedWith(product, variable, option string) string {
	for _, p := range s.Processes(programs[product]...) {
		if !is(p, product) {
			continue
		}
		dir := filepath.Join("/proc", strconv.Itoa(p.PID))
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
	}
	return ""
}
