package codes

import (
	"slices"
	"strings"
)

// Suggest returns up to most codes or symbols of the catalogue that look like
// s, nearest first: what "did you mean" offers for a near miss.
func Suggest(s string, most int) []string {
	s = strings.ToUpper(strings.NewReplacer("(", "", ")", "", " ", "").Replace(s)) // "Q8(b)"
	if _, name, ok := strings.Cut(s, "_E_"); ok {                                  // IXP_E_..., as the SDK writes its names
		s = name
	}
	if len(s) < 2 || len(s) > 64 {
		return nil
	}
	type near struct {
		key      string
		distance int
	}
	limit := max(1, len(s)/5)
	var found []near
	for _, k := range index().keys {
		if strings.ContainsAny(k, "/") {
			continue
		}
		if d := Distance(s, strings.ToUpper(k), limit); d <= limit {
			found = append(found, near{k, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.distance - b.distance })
	var out []string
	for _, n := range found {
		if len(out) < most && !slices.Contains(out, n.key) {
			out = append(out, n.key)
		}
	}
	return out
}

// Distance is the edit distance with neighbouring swaps (optimal string
// alignment), or something above limit.
func Distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
