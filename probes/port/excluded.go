package port

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// Range is a range of ports, both ends included.
type Range struct{ From, To int }

// Excluded returns the port ranges that Windows keeps for itself (Hyper-V,
// containers): binding there gives 10013 though nobody listens. Other systems
// have none.
func Excluded(ctx context.Context) ([]Range, error) {
	if runtime.GOOS != "windows" {
		return nil, nil
	}
	out, err := exec.CommandContext(ctx, "netsh", "interface", "ipv4", "show", "excludedportrange", "protocol=tcp").Output()
	if err != nil {
		return nil, err
	}
	return parseExcluded(string(out)), nil
}

// parseExcluded reads the two columns of numbers that netsh prints, in any
// language.
func parseExcluded(text string) []Range {
	var out []Range
	sc := bufio.NewScanner(strings.NewReader(text))
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 2 {
			continue
		}
		from, err1 := strconv.Atoi(f[0])
		to, err2 := strconv.Atoi(f[1])
		if err1 == nil && err2 == nil && 0 < from && from <= to && to <= 65535 {
			out = append(out, Range{from, to})
		}
	}
	return out
}

// InRange returns the range that the port of a listen address lies in.
func InRange(rs []Range, addr string) (Range, bool) {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return Range{}, false
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		return Range{}, false
	}
	for _, r := range rs {
		if r.From <= n && n <= r.To {
			return r, true
		}
	}
	return Range{}, false
}
