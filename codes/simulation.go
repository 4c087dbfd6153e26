package codes

import (
	_ "embed" // the data file
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

//go:embed data/simulations.toml
var simulationsData string

// Simulation is one known failure that `mailsrv simulate` can play: what the
// server says when, and what a diagnosis of it must name. The file says what
// each field means.
type Simulation struct {
	ID          string `toml:"id"`
	Protocol    string `toml:"protocol"` // what to speak to it: smtp, pop3, imap, dns
	Cause       string `toml:"cause"`    // word of CauseWords that must be named; empty when Finding is set
	Finding     string `toml:"finding"`  // finding id that must be named
	Plays       string `toml:"plays"`    // what it is; empty: a server of Protocol
	TLS         string `toml:"tls"`
	TLSVersion  string `toml:"tls_version"`
	Certificate string `toml:"certificate"`
	Try         string `toml:"try"` // the mailsrv command that names it; ADDR is where it listens
	Script      string `toml:"script"`
	En          struct {
		Title string `toml:"title"`
	} `toml:"en"`
	Ja struct {
		Title string `toml:"title"`
	} `toml:"ja"`
}

// Names is what a diagnosis of the simulation must name: a cause, or the id of
// a finding.
func (s *Simulation) Names() string {
	if s.Cause != "" {
		return s.Cause
	}
	return s.Finding
}

// Title says in one line what is played.
func (s *Simulation) Title(lang Lang) string { return lang.Pick(s.En.Title, s.Ja.Title) }

// Simulations lists them in the order of the file.
var Simulations = sync.OnceValue(func() []*Simulation {
	var doc struct {
		Simulation []*Simulation `toml:"simulation"`
	}
	if err := toml.Unmarshal([]byte(simulationsData), &doc); err != nil {
		panic(fmt.Sprintf("codes: data/simulations.toml: %v", err))
	}
	return doc.Simulation
})

// SimulationOf returns the simulation of that id, or nil.
func SimulationOf(id string) *Simulation {
	for _, s := range Simulations() {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// SuggestSimulations returns up to most ids that look like s or hold it, the
// nearest first.
func SuggestSimulations(s string, most int) []string {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "" || len(s) > 64 {
		return nil
	}
	limit := max(2, len(s)/3)
	far := map[string]int{}
	var out []string
	for _, x := range Simulations() {
		far[x.ID] = Distance(s, x.ID, limit)
		if strings.Contains(x.ID, s) {
			far[x.ID] = 0
		}
		if far[x.ID] <= limit {
			out = append(out, x.ID)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return far[a] - far[b] })
	return out[:min(len(out), most)]
}
