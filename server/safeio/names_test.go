package safeio

import (
	"strings"
	"testing"
)

func TestFileNames(t *testing.T) {
	for name, want := range map[string]string{
		"example.com":        "example.com",
		"[192.0.2.1]":        "[192.0.2.1]",
		"[ipv6:2001:db8::1]": "[ipv6%3A2001%3Adb8%3A%3A1]",
		"..":                 "%2E.",
		"a/b\\c":             "a%2Fb%5Cc",
		"100%":               "100%25",
		"\u65e5":             "%E6%97%A5",
	} {
		got := FileName(name)
		back, ok := ParseFileName(got)
		if got != want || back != name || !ok {
			t.Errorf("FileName(%q) = %q, want %q; back %q, %v", name, got, want, back, ok)
		}
	}
	for _, bad := range []string{"%", "%4", "%zz", "%61", "a%2e"} {
		if got, ok := ParseFileName(bad); ok {
			t.Errorf("ParseFileName(%q) = %q, want none", bad, got)
		}
	}
}

func FuzzFileName(f *testing.F) {
	f.Add("taro")
	f.Add("../x:y%41\x00")
	f.Fuzz(func(t *testing.T, name string) {
		file := FileName(name)
		if strings.ContainsAny(file, "/\\:\x00") || file == "." || file == ".." {
			t.Errorf("FileName(%q) = %q", name, file)
		}
		if back, ok := ParseFileName(file); back != name || !ok {
			t.Errorf("FileName(%q) = %q, back %q %v", name, file, back, ok)
		}
	})
}
