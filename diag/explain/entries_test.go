package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mailsrv/codes"
)

// Every entry of the catalogue can be reached: by its code, its name and each
// alias in the spellings that people and programs use, text entries also by
// their samples.
func TestEveryEntryIsReached(t *testing.T) {
	for _, e := range codes.All() {
		for _, key := range append([]string{e.Code, e.Symbol}, e.Aliases...) {
			for _, s := range spellings(key) {
				r := Explain([]byte(s), codes.English)
				if r.Input.Kind != KindCode || !slices.Contains(matchIDs(r), e.ID()) {
					t.Errorf("%s: %q leads to %s %q", e.ID(), s, r.Input.Kind, matchIDs(r))
				}
			}
		}
		for _, s := range e.Samples {
			if r := Explain([]byte(s), codes.English); !slices.Contains(matchIDs(r), e.ID()) {
				t.Errorf("%s: sample %q leads to %q", e.ID(), s, matchIDs(r))
			}
		}
		if r := Explain([]byte(e.Code), codes.Japanese); len(r.Diagnosis) > 0 && len(r.Diagnosis[0].Fixes) == 0 && r.Diagnosis[0].Cause != "none" {
			t.Errorf("%s: no steps for %s", e.ID(), r.Diagnosis[0].Cause)
		}
	}
}

// spellings are the ways to write a code.
func spellings(key string) []string {
	if key == "" {
		return nil
	}
	out := []string{key, strings.ToLower(key), " " + key + "\n"}
	if n, err := strconv.ParseUint(strings.TrimPrefix(key, "0x"), 16, 32); err == nil && strings.HasPrefix(key, "0x") {
		out = append(out, fmt.Sprintf("%08x", n), "Error Number: "+key, fmt.Sprintf("(%s)", key))
		if n >= 1<<31 {
			out = append(out, strconv.FormatUint(n, 10), strconv.FormatInt(int64(int32(n)), 10))
		}
	}
	return out
}

func matchIDs(r Result) []string {
	var out []string
	for _, m := range r.Matches {
		out = append(out, m.ID)
	}
	return out
}
