package codes

import (
	_ "embed" // the texts
	"sync"

	"github.com/pelletier/go-toml/v2"
)

//go:embed data/records.toml
var recordsData string

var recordWhys = sync.OnceValue(func() map[string]struct{ En, Ja string } {
	var out map[string]struct{ En, Ja string }
	if err := toml.Unmarshal([]byte(recordsData), &out); err != nil {
		panic("codes: data/records.toml: " + err.Error())
	}
	return out
})

// RecordWhy says what a DNS record is for; empty for a kind that
// data/records.toml does not have.
func RecordWhy(kind string, lang Lang) string {
	w := recordWhys()[kind]
	return lang.Pick(w.En, w.Ja)
}
