package metrics

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	things := NewCounter("test_things_total", "Things.", "kind", "result")
	things.Add(2, "a", `o"k\`)
	things.Add(1, "a", `o"k\`)
	things.Add(1, "b", "no")
	NewCounter("test_plain_total", "Plain.")
	var b strings.Builder
	Write(&b)
	Gauge(&b, "test_now", "Now.", 1.5)
	Gauges(&b, "test_open", "Open.", "service", map[string]int{"y": 2, "x": 0})
	Total(&b, "test_sum_total", "Sum.", 7)
	want := `# HELP test_plain_total Plain.
# TYPE test_plain_total counter
test_plain_total 0
# HELP test_things_total Things.
# TYPE test_things_total counter
test_things_total{kind="a",result="o\"k\\"} 3
test_things_total{kind="b",result="no"} 1
# HELP test_now Now.
# TYPE test_now gauge
test_now 1.5
# HELP test_open Open.
# TYPE test_open gauge
test_open{service="x"} 0
test_open{service="y"} 2
# HELP test_sum_total Sum.
# TYPE test_sum_total counter
test_sum_total 7
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if n := things.Value("b", "no"); n != 1 {
		t.Errorf("Value: %d", n)
	}
}
