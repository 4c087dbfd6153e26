package codes

import "testing"

func TestDynamicDNS(t *testing.T) {
	for name, want := range map[string]string{
		"home.ddns.net": "ddns.net", "a.b.DuckDNS.org.": "duckdns.org", "taro.mydns.jp": "mydns.jp",
		"ddns.net": "", "notddns.net": "", "mail.example.com": "", "localhost": "", "": "", ".": "", "..": "",
	} {
		if zone, ok := DynamicDNS(name); zone != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", name, zone, ok, want)
		}
	}
}
