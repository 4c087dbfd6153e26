package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"mailsrv/codes"
	"mailsrv/diag/explain"
)

func explained(input string, lang codes.Lang, change func(*Printer)) string {
	var b bytes.Buffer
	p := &Printer{W: &b, Lang: lang}
	if change != nil {
		change(p)
	}
	r := explain.Explain([]byte(input), lang)
	p.Explain(&r)
	return b.String()
}

// Every answer fits a terminal of 25 lines and 80 columns with the prompt below
// it, answer first, at least one step shown.
func TestExplainFitsTheScreen(t *testing.T) {
	inputs := []string{
		"The connection to the server has failed. Account: 'x', Server: '127.0.0.1', Protocol: POP3, Port: 110, Secure(SSL): No, Socket Error: 10061, Error Number: 0x800CCC0E",
		"メール サーバーにログオンできませんでした。パスワードが拒否されました。 アカウント : 'X', サーバー : '192.0.2.15', プロトコル : POP3, サーバーの応答 : '-ERR [IN-USE] /var/spool/mail/.user1.pop lock busy! Is another session active? (11)', ポート : 110, セキュリティ (SSL) : なし, サーバー エラー : 0x800CCC90, エラー番号 : 0x800CCC92",
		"550 5.7.1 Relaying denied",
	}
	for _, e := range codes.All() {
		inputs = append(inputs, e.Code)
		inputs = append(inputs, e.Samples...)
	}
	for _, lang := range []codes.Lang{codes.English, codes.Japanese} {
		for _, in := range inputs {
			text := explained(in, lang, func(p *Printer) { p.Height = 25 })
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if len(lines) > 24 {
				t.Errorf("%s %q: %d lines:\n%s", lang, in, len(lines), text)
			}
			for _, l := range lines {
				if w := ansi.StringWidth(l); w > 80 {
					t.Errorf("%s %q: a line of %d cells: %q", lang, in, w, l)
				}
			}
			if strings.TrimSpace(lines[0]) == "" {
				t.Errorf("%s %q: begins with a blank line", lang, in)
			}
		}
	}
}

func TestExplainCode(t *testing.T) {
	text := explained("0x800CCC0E", codes.English, nil)
	e := codes.Lookup("0x800CCC0E")[0]
	if !strings.HasPrefix(text, "0x800CCC0E  "+e.En.Title+"\nFAILED_TO_CONNECT\n") {
		t.Errorf("the answer does not come first:\n%s", text)
	}
	flat := strings.Join(strings.Fields(text), " ")
	for i, want := range []string{"Likely causes", e.En.Causes[0], "What to do 1. " + e.En.Fixes[0], "Who acts: whoever runs your mail server. Waiting does not help.", "See also: 10061"} {
		if !strings.Contains(flat, want) {
			t.Errorf("%d: %q is missing:\n%s", i, want, text)
		}
	}
	for name, change := range map[string]func(*Printer){
		"a pipe":          nil,
		"-v":              func(p *Printer) { p.Height, p.Verbose = 24, true },
		"a tall terminal": func(p *Printer) { p.Height = 60 },
	} {
		all := strings.Join(strings.Fields(explained("0x800CCC0E", codes.English, change)), " ")
		for _, want := range append(e.En.Causes, e.En.Fixes...) {
			if !strings.Contains(all, want) {
				t.Errorf("%s leaves out %q", name, want)
			}
		}
		if strings.Contains(all, "more with -v") {
			t.Errorf("%s holds something back", name)
		}
	}
	small := explained("0x800CCC0E", codes.English, func(p *Printer) { p.Height = 24 })
	if n := strings.Count(small, "\n"); n > 23 || !strings.Contains(small, "more with -v)") {
		t.Errorf("%d lines on a terminal of 24:\n%s", n, small)
	}
}

// A name that was typed is not told twice.
func TestExplainNamesOnce(t *testing.T) {
	for in, want := range map[string]string{
		"WSAECONNREFUSED": "10061  The computer answered, but nothing listens on that port\nWSAECONNREFUSED\n",
		"ECONNREFUSED":    "10061  The computer answered, but nothing listens on that port\nECONNREFUSED  WSAECONNREFUSED\n",
		"10061":           "10061  The computer answered, but nothing listens on that port\nWSAECONNREFUSED\n",
		"-2146644978":     "0x800CCC0E  The mail program could not connect to the server\n-2146644978  FAILED_TO_CONNECT\n",
	} {
		if got := explained(in, codes.English, nil); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %.120q, want %q", in, got, want)
		}
	}
}

func TestExplainDialog(t *testing.T) {
	text := explained("Server: '127.0.0.1', Protocol: POP3, Port: 110, Secure(SSL): No, Socket Error: 10061, Error Number: 0x800CCC0E", codes.English, nil)
	cause := codes.CauseOf("antivirus-proxy")
	if !strings.HasPrefix(text, cause.En.Title+"  [antivirus-proxy 92%]\n") {
		t.Errorf("the cause does not come first:\n%s", text)
	}
	for _, want := range []string{
		"\nBecause: Server: 127.0.0.1 · Socket Error: 10061\n",
		"\n 1. ",
		"\nCheck it: mailsrv probe pop3 127.0.0.1:110\n",
		"\nOr:      ",
		"[connect-refused 78%]",
		"\n10061       ",
		"\n0x800CCC0E  ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	ja := explained("サーバー : '127.0.0.1', ポート : 110, ソケット エラー : 10061, エラー番号 : 0x800CCC0E", codes.Japanese, nil)
	for _, want := range []string{cause.Ja.Title, "根拠:    サーバー: 127.0.0.1 · ソケット エラー: 10061", "対応する人: ", "または:"} {
		if !strings.Contains(ja, want) {
			t.Errorf("%q is missing:\n%s", want, ja)
		}
	}
}

func TestExplainWithoutAnAnswer(t *testing.T) {
	for in, want := range map[string][2]string{
		"":              {"There is nothing to explain: the input is empty.\n", "入力が空なので、説明するものがありません。\n"},
		"\x00\x01":      {"This is binary data, no text: ", "テキストではないデータです。"},
		"0x800CCC0":     {"0x800CCC0 is not in the catalogue.\nDid you mean 0x800CCC00, ", "0x800CCC0 はカタログにありません。\nもしかして: 0x800CCC00、"},
		"See you later": {codes.CauseOf("none").En.Title + "\n", codes.CauseOf("none").Ja.Title + "\n"},
	} {
		for i, lang := range []codes.Lang{codes.English, codes.Japanese} {
			if got := explained(in, lang, nil); !strings.HasPrefix(got, want[i]) {
				t.Errorf("%q: %q, want %q", in, got, want[i])
			}
		}
	}
}

func TestExplainPaste(t *testing.T) {
	got := explained("Windows IP Configuration\n Host Name . . . : PC\n Node Type . . . : x\n IPv4 Address. . . : 192.168.1.2\n Default Gateway . . : 192.168.1.1\n DNS Servers . . . : 192.0.2.53\n", codes.English, nil)
	want := "Host name: PC\nOwn addresses: 192.168.1.2\nGateway: 192.168.1.1\nDNS servers: 192.0.2.53\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestExplainColours(t *testing.T) {
	text := explained("0x800CCC0E", codes.English, func(p *Printer) { p.Color = true })
	if !strings.HasPrefix(text, "\x1b[1m0x800CCC0E  ") {
		t.Errorf("%q", text[:40])
	}
	if plain := explained("0x800CCC0E", codes.English, nil); strings.Contains(plain, "\x1b") {
		t.Error("colours where none are wanted")
	}
}

func TestExplainMail(t *testing.T) {
	const head = "From: MAILER-DAEMON@mx.example.jp\nTo: taro@example.jp\nDate: Tue, 13 May 2025 10:00:00 +0900\nSubject: Undelivered Mail Returned to Sender\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\n\nx\n--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.jp\n\n"
	bounced := explained(head+"Final-Recipient: rfc822; ken@example.net\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown\n--x--\n", codes.English, nil)
	if !strings.HasPrefix(bounced, codes.CauseOf("user-unknown").En.Title) || !strings.Contains(bounced, "\nMail to: ken@example.net\nBecause: 550 5.1.1 User unknown\n") {
		t.Errorf("%s", bounced)
	}
	delivered := explained(head+"Final-Recipient: rfc822; ken@example.net\nAction: delivered\nStatus: 2.0.0\n--x--\n", codes.English, nil)
	if want := "This is a delivery report, and it reports no failure.\nMail to: ken@example.net\n"; delivered != want {
		t.Errorf("%q, want %q", delivered, want)
	}
	if got, want := explained("From: a@example.jp\nTo: b@example.jp\nSubject: hi\n\nhello\n", codes.Japanese, nil), "通常のメールです。エラーメールではありません。\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
