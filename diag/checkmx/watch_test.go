package checkmx

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/dial"
	"mailsrv/probes/dns/dnstest"
)

// A change made on one name server first, then on the other, then seen by the
// resolver.
func TestWatch(t *testing.T) {
	changed := strings.NewReplacer("MX 20", "MX 30")
	ns1, ns2, resolver := dnstest.New(t, changed.Replace(ownZone)), dnstest.New(t, ownZone), dnstest.New(t, world)
	m, err := dial.ParseMap(strings.NewReader("192.0.2.51:53 " + ns1.Addr + "\n192.0.2.52:53 " + ns2.Addr + "\n192.0.2.1:25 drop\n192.0.2.2:25 drop"))
	if err != nil {
		t.Fatal(err)
	}
	c := New(Options{Resolvers: []string{resolver.Addr}, Map: m, Timeout: 5 * time.Second})
	defer c.Close()
	type seen struct {
		Agree  bool
		MX     []string
		Silent int
	}
	var got []seen
	steps := []func() error{
		func() error { return ns2.Set(changed.Replace(ownZone)) },
		func() error { return resolver.Set(changed.Replace(world)) },
	}
	ok := c.Watch(context.Background(), "example.test", time.Millisecond, func(r *Round) {
		s := seen{Agree: r.Agree, Silent: len(r.Silent)}
		for _, a := range r.Answers {
			if a.Type == "MX" {
				var who []string
				for _, x := range a.Servers {
					name, _, _ := strings.Cut(x, ".")
					who = append(who, name)
				}
				s.MX = append(s.MX, a.Value+": "+strings.Join(who, " "))
			}
		}
		got = append(got, s)
		if len(steps) > 0 {
			if err := steps[0](); err != nil {
				t.Error(err)
			}
			steps = steps[1:]
		}
	})
	const old, fresh = "10 mx1.example.test. | 20 mx2.example.test.", "10 mx1.example.test. | 30 mx2.example.test."
	want := []seen{
		{false, []string{fresh + ": ns1", old + ": ns2 127"}, 0},
		{false, []string{fresh + ": ns1 ns2", old + ": 127"}, 0},
		{true, []string{fresh + ": ns1 ns2 127"}, 0},
	}
	if d := cmp.Diff(want, got); d != "" || !ok {
		t.Errorf("ended by itself: %v (-want +got): %s", ok, d)
	}
}

func TestWatchEndsWithContext(t *testing.T) {
	srv := dnstest.New(t, healthy)
	c := New(Options{Resolvers: []string{srv.Addr}, Map: labMap(t), Timeout: time.Second})
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	if c.Watch(ctx, "example.test", time.Hour, func(*Round) { cancel() }) {
		t.Error("nothing has spread here")
	}
}

// With Authority the resolver's old answer does not count.
func TestAuthority(t *testing.T) {
	old := strings.NewReplacer("MX 20 mx2", "MX 20 gone", "mx1.example.test.    A 192.0.2.1", "mx1.example.test. A 10.0.0.1").Replace(world)
	ask := func(authority bool, resolver string) []string {
		l := servers(t, resolver, allGood(nil))
		inner := l.opt
		l.opt = func(o *Options) { inner(o); o.Authority, o.Only = authority, []string{"mx"} }
		return wrong(l.check(t))
	}
	if d := cmp.Diff([]string{"fail mx.private_address 10.0.0.1", "fail mx.nxdomain gone.example.test"}, ask(false, old)); d != "" {
		t.Errorf("by the resolver (-want +got): %s", d)
	}
	if d := cmp.Diff([]string{}, ask(true, old)); d != "" {
		t.Errorf("by the zone's servers (-want +got): %s", d)
	}
	alias := world + "mx9.example.test. CNAME mx1.example.test."
	if d := cmp.Diff([]string{}, ask(true, strings.ReplaceAll(alias, "ns1.example.test. A", "ns1.other.test. A"))); d != "" {
		t.Errorf("one server's address unknown (-want +got): %s", d)
	}
}
