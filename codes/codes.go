// Package codes is what mailsrv knows: what each code, reply and message text
// of the mail world means, why it happens, what to do about it and who has to
// do it, in English and Japanese.
//
// The knowledge itself is data, one TOML file per family under data/. The
// package reads no outside world and holds no state. Start-up must stay under
// a few milliseconds although the catalogue is large, so nothing is parsed
// before it is asked for: the first look-up scans the files for their code,
// symbol and alias lines only, and an entry's text is decoded when that entry
// is wanted.
package codes

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

// Lang is a language of the catalogue.
type Lang string

// The languages every text exists in.
const (
	English  Lang = "en"
	Japanese Lang = "ja"
)

// ParseLang reads "en", "ja" or a locale such as "ja_JP.UTF-8". Anything but
// Japanese is English; ok is false when s names neither.
func ParseLang(s string) (lang Lang, ok bool) {
	s = strings.ToLower(s)
	switch {
	case s == "ja" || strings.HasPrefix(s, "ja_") || strings.HasPrefix(s, "ja-") || strings.HasPrefix(s, "ja."):
		return Japanese, true
	case s == "en" || strings.HasPrefix(s, "en_") || strings.HasPrefix(s, "en-") || strings.HasPrefix(s, "en."):
		return English, true
	}
	return English, false
}

// Pick returns the English or the Japanese text.
func (l Lang) Pick(en, ja string) string {
	if l == Japanese {
		return ja
	}
	return en
}

// Who has to act on an entry or a cause.
const (
	Sender       = "sender"
	YourServer   = "your-server"
	YourProvider = "your-provider"
	Recipient    = "recipient"
)

// Entry is one thing the catalogue knows.
type Entry struct {
	Code       string   `toml:"code"`       // canonical spelling: "0x800CCC0E", "10061", "5.7.1", "FAQ00", "pop3/in-use"
	Family     string   `toml:"-"`          // the file it stands in: outlook, mapi, winsock, smtp, enhanced, text, ...
	Symbol     string   `toml:"symbol"`     // its name in the field: WSAECONNREFUSED
	Aliases    []string `toml:"aliases"`    // other spellings that mean exactly this
	Cause      string   `toml:"cause"`      // word of the cause list this most often comes down to
	Who        string   `toml:"who"`        // sender, your-server, your-provider, recipient
	Temporary  bool     `toml:"temporary"`  // waiting can help
	Related    []string `toml:"related"`    // codes worth reading next
	References []string `toml:"references"` // RFC sections, seed FAQ numbers
	Reason     string   `toml:"reason"`     // text entries: the bounce reason it stands for
	Phrases    []string `toml:"phrases"`    // text entries: see Phrase
	Not        []string `toml:"not"`        // text entries: phrases that rule the entry out
	Samples    []string `toml:"samples"`    // text entries: texts that must match
	En         Text     `toml:"en"`
	Ja         Text     `toml:"ja"`
}

// Text is an entry in one language. Causes stand likeliest first, fixes in the
// order to do them.
type Text struct {
	Title   string   `toml:"title"`
	Meaning string   `toml:"meaning"`
	Causes  []string `toml:"causes"`
	Fixes   []string `toml:"fixes"`
}

// ID is the entry's name within the whole catalogue: "winsock/10048". Text
// entries carry their group in the code already: "pop3/in-use".
func (e *Entry) ID() string {
	if strings.Contains(e.Code, "/") {
		return e.Code
	}
	return e.Family + "/" + e.Code
}

// Text returns the entry's text in lang.
func (e *Entry) Text(lang Lang) Text {
	if lang == Japanese {
		return e.Ja
	}
	return e.En
}

// Lookup returns the entries with that code, symbol or alias, regardless of
// letter case. Several families may know one number; the order is that of
// families in data.go.
func Lookup(key string) []*Entry {
	ix := index()
	var out []*Entry
	for _, n := range ix.find(key) {
		if e := ix.entry(n); !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// Known tells whether a code, symbol or alias stands in the catalogue, without
// decoding its entry.
func Known(key string) bool {
	_, ok := index().first[strings.ToUpper(key)]
	return ok
}

// FamiliesWith returns the families that know a code, symbol or alias, without
// decoding their entries.
func FamiliesWith(key string) []string {
	var out []string
	for _, n := range index().find(key) {
		out = append(out, index().at[n].family)
	}
	return out
}

// All returns every entry, family by family in file order.
func All() []*Entry {
	ix := index()
	out := make([]*Entry, len(ix.at))
	for n := range ix.at {
		out[n] = ix.entry(int32(n))
	}
	return out
}

// catalogue is the index over the data files. at holds, per entry, where its
// text stands; decoded entries are kept.
type catalogue struct {
	at    []place
	first map[string]int32   // by key in capitals: the first entry that has it
	more  map[string][]int32 // the others, where several families know one number
	keys  []string           // as written, for Suggest

	mu      sync.Mutex
	decoded map[int32]*Entry
}

type place struct {
	family string
	chunk  string // the entry's own "[[entry]] ..." text
}

var index = sync.OnceValue(newIndex)

func newIndex() *catalogue {
	ix := &catalogue{first: make(map[string]int32, 4096), more: map[string][]int32{}, decoded: map[int32]*Entry{}}
	for _, family := range families {
		for _, chunk := range chunks(family.data, "[[entry]]") {
			n := int32(len(ix.at))
			ix.at = append(ix.at, place{family.name, chunk})
			for _, k := range chunkKeys(chunk) {
				up := strings.ToUpper(k)
				if other, ok := ix.first[up]; !ok {
					ix.first[up] = n
				} else if other != n {
					ix.more[up] = append(ix.more[up], n)
				}
				ix.keys = append(ix.keys, k)
			}
		}
	}
	return ix
}

// find returns the entries with a code, symbol or alias.
func (ix *catalogue) find(key string) []int32 {
	key = strings.ToUpper(key)
	n, ok := ix.first[key]
	if !ok {
		return nil
	}
	return append([]int32{n}, ix.more[key]...)
}

func (ix *catalogue) entry(n int32) *Entry {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if e := ix.decoded[n]; e != nil {
		return e
	}
	e := decodeEntry(ix.at[n])
	ix.decoded[n] = e
	return e
}

// decodeEntry panics on bad data: the files are part of the binary and a test
// decodes every entry.
func decodeEntry(p place) *Entry {
	var doc struct {
		Entry []*Entry `toml:"entry"`
	}
	if err := toml.Unmarshal([]byte(p.chunk), &doc); err != nil || len(doc.Entry) != 1 {
		panic(fmt.Sprintf("codes: data/%s.toml: %.60q: %v", p.family, p.chunk, err))
	}
	doc.Entry[0].Family = p.family
	return doc.Entry[0]
}
