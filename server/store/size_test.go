package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOctets(t *testing.T) {
	data := t.TempDir()
	taro := Box{Name: "taro", Domain: "example.com"}
	if n, err := Octets(data, taro); n != 0 || err != nil {
		t.Errorf("no mailbox: %d, %v", n, err)
	}
	for name, size := range map[string]int{
		"new/1.M1.host,S=100,W=100": 1, // the name is believed
		"cur/2.M1.host,S=20;2,S":    1,
		"cur/3.M1.host;2,":          3, // no size in the name
		"cur/4.M1.host,S=x":         4, // none that could be read
		"tmp/5.M1.host,S=1000":      1,
	} {
		path := filepath.Join(Dir(data, taro), "Maildir", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := Octets(data, taro); n != 127 || err != nil {
		t.Errorf("%d, %v; want 127", n, err)
	}
}
