package checkmx

import (
	"context"
	"slices"
	"sync"
	"time"

	"mailsrv/probes/dns"
)

// Round is one look at how far a change of the domain has spread.
type Round struct {
	Time    time.Time `json:"time"`
	Domain  string    `json:"domain"`
	Agree   bool      `json:"agree"` // all servers that answered say the same
	Answers []Spread  `json:"answers"`
	Silent  []string  `json:"silent,omitempty"` // servers that could not be asked
}

// Spread is one answer and who gives it.
type Spread struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Value   string   `json:"value"`
	Servers []string `json:"servers"`
	TTL     uint32   `json:"ttl"` // seconds until the last of them asks again
}

// Watch looks again and again, and emits each round that differs from the one
// before. It ends when a difference that it saw is gone, or with the context;
// spread tells which.
func (c *Checker) Watch(ctx context.Context, domain string, every time.Duration, emit func(*Round)) (spread bool) {
	last, differed := "", false
	for {
		r := c.round(ctx, domain)
		if ctx.Err() != nil {
			return false
		}
		if k := r.key(); k != last {
			last = k
			emit(r)
		}
		if r.Agree && differed {
			return true
		}
		differed = differed || !r.Agree
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return false
		}
	}
}

// key is what makes two rounds differ; a TTL that counts down does not.
func (r *Round) key() string {
	k := ""
	for _, a := range r.Answers {
		k += a.Name + a.Type + a.Value
		for _, s := range a.Servers {
			k += " " + s
		}
		k += "\n"
	}
	for _, s := range r.Silent {
		k += " " + s
	}
	return k
}

// round asks every server of the domain and every resolver the questions that
// matter to mail.
func (c *Checker) round(ctx context.Context, domain string) *Round {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout*budget/2)
	defer cancel()
	fresh := New(c.opt) // with nothing remembered
	defer fresh.Close()
	r := &Round{Time: c.now().Round(time.Second), Domain: domain, Agree: true}
	f := &Facts{Domain: domain, MX: fresh.lookup.Lookup(ctx, domain, dns.MX)}
	fresh.collectNS(ctx, f)
	zone := domain
	byServer := map[string][]*dns.Answer{}
	var names []string
	if f.NS != nil {
		zone = f.NS.Zone
		for _, s := range f.NS.Servers {
			for _, e := range s.Ends {
				name := s.Name + " " + e.Addr.IP.String()
				names = append(names, name)
				byServer[name] = e.Mail
			}
		}
	}
	questions := f.mailQuestions(zone)
	for _, server := range c.opt.Resolvers {
		names = append(names, server)
		byServer[server] = fresh.askAll(ctx, server, questions)
	}
	for _, n := range names {
		if !slices.ContainsFunc(byServer[n], func(a *dns.Answer) bool { return a.Outcome.Found() }) {
			r.Silent = append(r.Silent, n)
		}
	}
	for i, q := range questions {
		r.add(q, i, names, byServer)
	}
	return r
}

func (c *Checker) askAll(ctx context.Context, server string, questions []dns.Question) []*dns.Answer {
	out := make([]*dns.Answer, len(questions))
	var wg sync.WaitGroup
	for i, q := range questions {
		q.Recurse = true
		wg.Go(func() { out[i] = c.client.Query(ctx, server, q) })
	}
	wg.Wait()
	return out
}

// add groups the servers by what they answer to one question.
func (r *Round) add(q dns.Question, i int, names []string, answers map[string][]*dns.Answer) {
	first := len(r.Answers)
	for _, n := range names {
		if i >= len(answers[n]) || !answers[n][i].Outcome.Found() {
			continue
		}
		a := answers[n][i]
		value := answerSet(a)
		at := slices.IndexFunc(r.Answers[first:], func(s Spread) bool { return s.Value == value })
		if at < 0 {
			r.Answers = append(r.Answers, Spread{Name: dot(q.Name), Type: string(q.Type), Value: value})
			at = len(r.Answers) - 1 - first
		}
		s := &r.Answers[first+at]
		s.Servers = append(s.Servers, n)
		for _, rec := range a.Records {
			s.TTL = max(s.TTL, rec.TTL)
		}
	}
	if len(r.Answers)-first > 1 {
		r.Agree = false
	}
}
