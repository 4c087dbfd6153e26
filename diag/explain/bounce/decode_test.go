package bounce

import (
	"strings"
	"testing"
)

func TestHTMLText(t *testing.T) {
	for in, want := range map[string]string{
		"<p>User <b>unknown</b>:<br>&lt;a@example.jp&gt;</p>":                     "User unknown:\n<a@example.jp>",
		"<style>p { x }</style><title>t</title>words":                             "words",
		"<STYLE>p { </p> }</STYLE>words<!-- 550 -->, more":                        "words, more",
		"<script>never closed 550 5.1.1":                                          "",
		"a <unclosed":                                                             "a",
		"<table><tr><td>one</td><td>two</td></tr><tr><td>three</td></tr></table>": "one two\n\n three",
	} {
		if got := strings.TrimSpace(htmlText(in)); got != want {
			t.Errorf("htmlText(%q) = %q, want %q", in, got, want)
		}
	}
	if got := htmlText(strings.Repeat("<style></", 1<<17)); got != "" { // must not take for ever
		t.Errorf("got %d bytes", len(got))
	}
}

func TestToUTF8(t *testing.T) {
	for _, tt := range []struct{ name, in, charset, want string }{
		{"ascii", "user unknown", "iso-2022-jp", "user unknown"},
		{"utf-8", "宛先", "", "宛先"},
		{"iso-2022-jp", "\x1b$B08@h\x1b(B ok", "", "宛先 ok"},
		{"euc-jp labelled iso-2022-jp", "\xc1\xf7\xbf\xae\xc0\xe8\xa4\xac\xb8\xab\xa4\xc4\xa4\xab\xa4\xea\xa4\xde\xa4\xbb\xa4\xf3", "iso-2022-jp", "送信先が見つかりません"},
		{"shift_jis without label", "\x91\x97\x90\x4d\x90\xe6\x82\xaa\x8c\xa9\x82\xc2\x82\xa9\x82\xe8\x82\xdc\x82\xb9\x82\xf1", "", "送信先が見つかりません"},
		{"latin1", "d\xe9lai d\xe9pass\xe9", "iso-8859-1", "délai dépassé"},
		{"no label", "d\xe9lai", "", "délai"},
		{"koi8-r", "\xd1\xdd\xc9\xcb", "koi8-r", "ящик"},
		{"gb2312", "\xd3\xca\xcf\xe4", "gb2312", "邮箱"},
	} {
		if got := toUTF8([]byte(tt.in), tt.charset); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestDecodeTransfer(t *testing.T) {
	for _, tt := range []struct{ in, enc, want string }{
		{"user =\nunknown=3D=\n", "quoted-printable", "user unknown="},
		{"broken =ZZ and =", "quoted-printable", "broken =ZZ and "},
		{"VXNlcg==", "base64", "User"},
		{"VX\nNl!cg", "base64", "User"},
		{"VXNlc", "base64", "Use"},
		{"as is", "8bit", "as is"},
	} {
		if got := string(decodeTransfer([]byte(tt.in), tt.enc)); got != tt.want {
			t.Errorf("%s %q = %q, want %q", tt.enc, tt.in, got, tt.want)
		}
	}
}

func TestIsAddress(t *testing.T) {
	for in, want := range map[string]bool{
		"hanako@example.jp": true, "\"a b\"@example.jp": true, "花子@例え.jp": true, "a%b@example.jp": true, "=?utf-8?B?8J+QiA=?=@example.org": true,
		"@example.jp": false, "hanako": false, "|/usr/bin/filter a@example.jp": false, "/var/mail/a": false, "a@": false, "": false, "a@b@c d": false,
	} {
		if got := isAddress(in); got != want {
			t.Errorf("isAddress(%q) = %v", in, got)
		}
	}
}
