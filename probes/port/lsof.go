package port

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"

	"mailsrv/probes/host"
)

// lsof asks the tool of that name, which macOS has in its base.
func lsof(ctx context.Context) ([]Holder, error) {
	out, err := exec.CommandContext(ctx, "lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-FpcLtn").Output()
	var exit *exec.ExitError
	// It ends with 1 when nothing listens, and also when it could not see
	// everything.
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, err
	}
	hs := parseLsof(string(out))
	for i := range hs {
		if p, ok := host.ProcessOf(hs[i].Process.PID); ok {
			if p.Program == "" {
				p.Program = hs[i].Process.Program
			}
			hs[i].Process = p
		}
	}
	return hs, nil
}

// parseLsof reads the fields of lsof -F: one a line, its kind in the first
// letter; p, c and L hold for all files that follow, t and n for one.
func parseLsof(text string) []Holder {
	var out []Holder
	var p host.Process
	var v6 bool
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		value := line[1:]
		switch line[0] {
		case 'p':
			pid, err := strconv.Atoi(value)
			if err != nil {
				continue
			}
			p = host.Process{PID: pid}
		case 'c':
			p.Program = value
		case 'L':
			p.User = value
		case 't':
			v6 = value == "IPv6"
		case 'n':
			local, err := parseLsofName(value, v6)
			key := fmt.Sprint(p.PID, local)
			if err != nil || p.PID == 0 || seen[key] {
				continue
			}
			seen[key] = true
			out = append(out, Holder{Local: local, Process: p, User: p.User})
		}
	}
	return out
}

// parseLsofName reads "127.0.0.1:25", "[::1]:25" or "*:25".
func parseLsofName(s string, v6 bool) (netip.AddrPort, error) {
	if rest, ok := strings.CutPrefix(s, "*:"); ok {
		s = "0.0.0.0:" + rest
		if v6 {
			s = "[::]:" + rest
		}
	}
	return netip.ParseAddrPort(s)
}
