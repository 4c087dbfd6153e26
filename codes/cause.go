package codes

import (
	"fmt"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

// Cause is one word of the closed list of causes in words for people: what is
// wrong as an experienced support engineer would name it.
type Cause struct {
	Word      string    `toml:"word"`
	Who       string    `toml:"who"`
	Temporary bool      `toml:"temporary"`
	En        CauseText `toml:"en"`
	Ja        CauseText `toml:"ja"`
}

// CauseText is a cause in one language; fixes stand in the order to do them.
type CauseText struct {
	Title string   `toml:"title"`
	Why   string   `toml:"why"`
	Fixes []string `toml:"fixes"`
}

// Text returns the cause's text in lang.
func (c *Cause) Text(lang Lang) CauseText {
	if lang == Japanese {
		return c.Ja
	}
	return c.En
}

var causes = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for _, chunk := range chunks(causesData, "[[cause]]") {
		for _, w := range chunkWords(chunk, "word") {
			m[w] = chunk
		}
	}
	return m
})

// CauseOf returns the cause of that name, or nil when the list has no such word.
func CauseOf(word string) *Cause {
	if c, ok := decodedCauses.Load(word); ok {
		return c.(*Cause)
	}
	chunk, ok := causes()[word]
	if !ok {
		return nil
	}
	var doc struct {
		Cause []*Cause `toml:"cause"`
	}
	if err := toml.Unmarshal([]byte(chunk), &doc); err != nil || len(doc.Cause) != 1 {
		panic(fmt.Sprintf("codes: data/causes.toml: %q: %v", word, err))
	}
	decodedCauses.Store(word, doc.Cause[0])
	return doc.Cause[0]
}

// decodedCauses keeps what was decoded: a batch asks for the same few.
var decodedCauses sync.Map

// CauseWords is the closed list of causes.
var CauseWords = []string{
	"dns-failure", "connect-refused", "connect-timeout", "connection-reset", "server-timeout",
	"network-unreachable", "port25-blocked", "firewall-local", "antivirus-proxy", "offline-mode",
	"tls-mismatch", "tls-required", "tls-cert", "tls-version",
	"auth-failed", "auth-required", "auth-method", "app-password", "account-blocked", "pop-before-smtp",
	"relay-denied", "sender-rejected", "user-unknown", "mailbox-full", "message-too-large", "rate-limit",
	"greylisted", "blocklisted", "ptr-missing", "spf-dkim-dmarc", "spam-content", "policy", "syntax-error", "mail-loop",
	"mailbox-locked", "mailbox-damaged", "disk-full-server", "server-temporary", "port-in-use", "port-permission", "retry-expired",
	"profile-config", "local-storage", "cancelled",
	"service-discontinued", "unknown", "none",
}
