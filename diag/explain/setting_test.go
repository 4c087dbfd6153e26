package explain

import (
	"testing"

	"mailsrv/codes"
)

// Every old name of a setting leads to what stands for it now, and is no error.
func TestSettingsByTheirOldNames(t *testing.T) {
	n := 0
	for _, e := range codes.All() {
		if e.Family != "setting" {
			continue
		}
		for _, name := range append([]string{e.Code}, e.Aliases...) {
			n++
			r := Explain([]byte(name), codes.English)
			if len(r.Matches) == 0 || r.Matches[0].Family != "setting" || r.Matches[0].Title != e.En.Title {
				t.Errorf("%q is not explained by %s: %+v", name, e.ID(), r.Matches)
			}
			if len(r.Diagnosis) > 0 {
				t.Errorf("%q is taken for an error: %+v", name, r.Diagnosis)
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d names", n)
	}
}
