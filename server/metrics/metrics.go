// Package metrics counts what happens, for Prometheus and whoever else reads
// its text format. A package declares its counters at the top, with the help
// text that their reader sees:
//
//	var refused = metrics.NewCounter("mailsrv_things_refused_total", "Things that were refused.", "service")
//
//	refused.Add(1, "smtp")
//
// Counters belong to the process: they count from its start and never go down.
// What has a present value instead, such as the length of the queue, is written
// by whoever knows it, with Gauge.
package metrics

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Counter is a number that grows, one for each set of label values.
type Counter struct {
	name, help string
	labels     []string

	mu     sync.Mutex
	counts map[values]int64
}

// values are those of a counter's labels.
type values [2]string

var (
	registry   []*Counter
	registered sync.Mutex
)

// NewCounter makes a counter that Write knows. name ends with "_total". There
// are at most two labels.
func NewCounter(name, help string, labels ...string) *Counter {
	if len(labels) > len(values{}) {
		panic("metrics: too many labels: " + name)
	}
	c := &Counter{name: name, help: help, labels: labels, counts: map[values]int64{}}
	if len(labels) == 0 {
		c.counts[values{}] = 0 // there from the start
	}
	registered.Lock()
	defer registered.Unlock()
	registry = append(registry, c)
	return c
}

// Add adds n to the counter of the label values, which are few: never anything
// that a client may choose.
func (c *Counter) Add(n int64, labels ...string) {
	var key values
	copy(key[:len(c.labels)], labels)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[key] += n
}

// Value returns the count for label values.
func (c *Counter) Value(labels ...string) int64 {
	var key values
	copy(key[:], labels)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[key]
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// set writes labels with their values.
func set(labels, values []string) string {
	if len(labels) == 0 {
		return ""
	}
	pairs := make([]string, len(labels))
	for i, l := range labels {
		pairs[i] = l + `="` + escape.Replace(values[i]) + `"`
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// Write writes all counters, sorted by name.
func Write(w io.Writer) {
	registered.Lock()
	all := slices.Clone(registry)
	registered.Unlock()
	slices.SortFunc(all, func(a, b *Counter) int { return strings.Compare(a.name, b.name) })
	for _, c := range all {
		counts := map[string]int64{}
		c.mu.Lock()
		for key, n := range c.counts {
			counts[set(c.labels, key[:])] = n
		}
		c.mu.Unlock()
		write(w, c.name, c.help, "counter", counts)
	}
}

// Number is what can be a value.
type Number interface {
	~int | ~int64 | ~uint64 | ~float64
}

// Gauge writes a present value.
func Gauge[N Number](w io.Writer, name, help string, value N) {
	write(w, name, help, "gauge", map[string]N{"": value})
}

// Gauges writes present values that differ in one label.
func Gauges[N Number](w io.Writer, name, help, label string, values map[string]N) {
	byLabel := map[string]N{}
	for v, n := range values {
		byLabel[set([]string{label}, []string{v})] = n
	}
	write(w, name, help, "gauge", byLabel)
}

// Total writes a count that somebody else keeps.
func Total[N Number](w io.Writer, name, help string, value N) {
	write(w, name, help, "counter", map[string]N{"": value})
}

func write[N Number](w io.Writer, name, help, kind string, values map[string]N) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(w, "%s%s %v\n", name, k, values[k])
	}
}
