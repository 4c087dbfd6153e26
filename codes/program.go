package codes

import (
	"fmt"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

// Program is a mail program: how a text shows that it is the one, and where its
// settings stand.
type Program struct {
	Word    string   `toml:"word"`
	Phrases []Phrase `toml:"phrases"` // of folded text
	En      Menus    `toml:"en"`
	Ja      Menus    `toml:"ja"`
}

// Menus are the ways to a program's settings, in one language.
type Menus struct {
	Name     string `toml:"name"`
	Settings string `toml:"settings"` // server names, ports, TLS
	Auth     string `toml:"auth"`     // the login for sending
	Password string `toml:"password"`
	Address  string `toml:"address"` // the sender's
}

var programs = sync.OnceValue(func() []Program {
	var doc struct {
		Program []Program `toml:"program"`
	}
	if err := toml.Unmarshal([]byte(programsData), &doc); err != nil {
		panic(fmt.Sprintf("codes: data/programs.toml: %v", err))
	}
	return doc.Program
})

// Programs are the mail programs of the catalogue.
func Programs() []Program { return programs() }

// ProgramOf returns the mail program that folded text (see Fold) shows, or nil.
func ProgramOf(folded string) *Program {
	for i, p := range programs() {
		for _, phrase := range p.Phrases {
			if _, _, ok := phrase.Match(folded); ok {
				return &programs()[i]
			}
		}
	}
	return nil
}

// settingOf is the kind of setting that a cause is mended in.
var settingOf = map[string]func(Menus) string{
	"connect-refused": settings, "connect-timeout": settings, "tls-mismatch": settings, "tls-required": settings, "dns-failure": settings,
	"profile-config": settings, "antivirus-proxy": settings, "port25-blocked": settings,
	"auth-required": auth, "relay-denied": auth, "auth-method": auth, "pop-before-smtp": auth,
	"auth-failed": password, "app-password": password,
	"sender-rejected": address,
}

func settings(m Menus) string { return m.Settings }
func auth(m Menus) string     { return m.Auth }
func password(m Menus) string { return m.Password }
func address(m Menus) string  { return m.Address }

// Way is where in the program a cause is mended, as a step for people; "" when
// no setting of it is concerned.
func (p *Program) Way(cause string, lang Lang) string {
	of, ok := settingOf[cause]
	if !ok {
		return ""
	}
	m := p.En
	if lang == Japanese {
		m = p.Ja
	}
	if way := of(m); strings.TrimSpace(way) != "" {
		return fmt.Sprintf(lang.Pick("Where to look in %s: %s.", "%s での設定場所: %s。"), m.Name, way)
	}
	return ""
}
