package config

import (
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"B", 1},
}

// ParseSize reads "25MB" (decimal), "25MiB" (binary) or "1.5GB"; at least one
// octet. On a mistake, suggestion is what was probably meant.
func ParseSize(s string) (n int64, suggestion string, err error) {
	err = fmt.Errorf(`must be a size such as "25MB" (decimal) or "25MiB" (binary), with B, KB, MB, GB or TB`)
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	number, unit := strings.TrimSpace(digits), s[len(digits):]
	f, ok := decimal(number)
	if !ok {
		return 0, "", err
	}
	for _, u := range sizeUnits {
		if u.name == unit && number == digits {
			f *= float64(u.bytes)
			if f < 1 || f > math.MaxInt64/2 {
				return 0, "", err
			}
			return int64(f), "", nil
		}
	}
	for _, u := range sizeUnits {
		if strings.EqualFold(u.name, unit) || strings.EqualFold(u.name, unit+"B") {
			return 0, number + u.name, err
		}
	}
	return 0, "", err
}

// FormatSize writes n the way ParseSize reads it.
func FormatSize(n int64) string {
	best := sizeUnits[len(sizeUnits)-1]
	for _, u := range sizeUnits {
		if n%u.bytes == 0 && u.bytes > best.bytes {
			best = u
		}
	}
	return strconv.FormatInt(n/best.bytes, 10) + best.name
}

// ParseDuration reads "5m", "1h30m", "14d" or "2w"; not negative. On a
// mistake, suggestion is what was probably meant.
func ParseDuration(s string) (d time.Duration, suggestion string, err error) {
	err = fmt.Errorf(`must be a duration such as "30s", "5m", "1h30m" or "14d"`)
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			f, ok := decimal(number)
			if !ok || f*float64(length) > math.MaxInt64/2 {
				return 0, "", err
			}
			return time.Duration(f * float64(length)), "", nil
		}
	}
	d, parseErr := time.ParseDuration(s)
	if parseErr != nil || d < 0 {
		return 0, likelyDuration(s), err
	}
	return d, "", nil
}

// likelyDuration understands "5 minutes" and the like.
func likelyDuration(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i <= 0 {
		return ""
	}
	number, word := s[:i], strings.ToLower(strings.TrimSpace(s[i:]))
	for prefix, unit := range map[string]string{"sec": "s", "min": "m", "hour": "h", "hr": "h", "day": "d", "week": "w"} {
		if strings.HasPrefix(word, prefix) {
			return number + unit
		}
	}
	switch word {
	case "s", "m", "h", "d", "w":
		return number + word
	}
	return ""
}

// FormatDuration writes d the way ParseDuration reads it.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String() // 5m0s
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// decimal reads digits with at most one point, nothing else that
// strconv.ParseFloat would take.
func decimal(s string) (float64, bool) {
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// ParseNetwork reads a network in CIDR form, or one address. On a mistake,
// suggestion is what was probably meant: "192.168.1.*" and ranges become CIDR,
// a ragged range the network around it.
func ParseNetwork(s string) (p netip.Prefix, suggestion []string, err error) {
	err = fmt.Errorf(`must be a network such as "192.0.2.0/24" or "2001:db8::/32", or one address`)
	if a, parseErr := netip.ParseAddr(s); parseErr == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil, nil
	}
	if p, parseErr := netip.ParsePrefix(s); parseErr == nil {
		if p.Masked() == p {
			return p, nil, nil
		}
		return netip.Prefix{}, []string{p.Masked().String()}, fmt.Errorf("has address bits beyond its length of %d bits", p.Bits())
	}
	suggestion = likelyNetwork(s)
	if n := len(suggestion); n > 4 {
		err = fmt.Errorf("%w; exactly that range is %s", err, strings.Join(suggestion, ", "))
		suggestion = []string{around(suggestion[0], suggestion[n-1])}
	}
	return netip.Prefix{}, suggestion, err
}

// around is the smallest network that holds both.
func around(first, last string) string {
	a, b := netip.MustParsePrefix(first), netip.MustParsePrefix(last)
	for bits := a.Bits(); ; bits-- {
		if p := netip.PrefixFrom(a.Addr(), bits).Masked(); p.Contains(b.Addr()) && p.Bits() <= b.Bits() {
			return p.String()
		}
	}
}

// likelyNetwork turns the forms that other servers' settings use into CIDR:
// "192.168.1.*", "192.168.1.", "192.168.1.2-192.168.1.254", "192.168.1.2~254",
// "192.168.1.0/255.255.255.0".
func likelyNetwork(s string) []string {
	s = strings.ReplaceAll(strings.TrimSpace(s), " ", "")
	if addr, mask, ok := strings.Cut(s, "/"); ok {
		a, err1 := netip.ParseAddr(addr)
		m, err2 := netip.ParseAddr(mask)
		if err1 != nil || err2 != nil || !a.Is4() || !m.Is4() {
			return nil
		}
		bits := 0
		for raw := m.As4(); bits < 32 && raw[bits/8]&(0x80>>(bits%8)) != 0; {
			bits++
		}
		return []string{netip.PrefixFrom(a, bits).Masked().String()}
	}
	if strings.HasSuffix(s, ".*") || strings.HasSuffix(s, ".") {
		parts := strings.Split(strings.TrimRight(s, ".*"), ".")
		if len(parts) > 3 {
			return nil
		}
		bits := 8 * len(parts)
		for len(parts) < 4 {
			parts = append(parts, "0")
		}
		a, err := netip.ParseAddr(strings.Join(parts, "."))
		if err != nil {
			return nil
		}
		return []string{netip.PrefixFrom(a, bits).String()}
	}
	i := strings.IndexAny(s, "-~")
	if i < 0 {
		return nil
	}
	from, err := netip.ParseAddr(s[:i])
	if err != nil {
		return nil
	}
	last := s[i+1:]
	if !strings.ContainsAny(last, ".:") && from.Is4() {
		last = s[:strings.LastIndexByte(s[:i], '.')+1] + last
	}
	to, err := netip.ParseAddr(last)
	if err != nil {
		return nil
	}
	return rangeToCIDR(from, to)
}

// rangeToCIDR covers the addresses from..to exactly; nil when the range is
// empty or needs more than 32 networks.
func rangeToCIDR(from, to netip.Addr) []string {
	if from.BitLen() != to.BitLen() || from.Zone() != "" || to.Zone() != "" || to.Less(from) {
		return nil
	}
	lo, hi := new(big.Int).SetBytes(from.AsSlice()), new(big.Int).SetBytes(to.AsSlice())
	one := big.NewInt(1)
	var out []string
	for lo.Cmp(hi) <= 0 {
		bits := uint(lo.TrailingZeroBits())
		if lo.Sign() == 0 || bits > uint(from.BitLen()) {
			bits = uint(from.BitLen())
		}
		for bits > 0 {
			last := new(big.Int).Lsh(one, bits)
			if last.Add(last, lo).Sub(last, one).Cmp(hi) <= 0 {
				break
			}
			bits--
		}
		a, _ := netip.AddrFromSlice(lo.FillBytes(make([]byte, from.BitLen()/8)))
		if out = append(out, netip.PrefixFrom(a, from.BitLen()-int(bits)).String()); len(out) > 32 {
			return nil
		}
		lo.Add(lo, new(big.Int).Lsh(one, bits))
	}
	return out
}
