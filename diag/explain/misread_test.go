package explain

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
)

// A person writes the numbers side by side; the socket error counts.
func TestSocketNumberBesideTheCode(t *testing.T) {
	for _, in := range []string{"0x800CCC0E 10061 bogus", "Outlook says 0x800CCC0E and 10061", "10061 (0x800CCC0E) since the update", "ソケットエラー 10061 エラー番号 0x800CCC0E"} {
		r := Explain([]byte(in), codes.English)
		var found []string
		for _, m := range r.Matches {
			found = append(found, m.Code)
		}
		if !slices.Contains(found, "10061") || r.Diagnosis[0].Cause != "connect-refused" || r.Diagnosis[0].Confidence < 0.7 {
			t.Errorf("%q: %q %s %.2f", in, found, r.Diagnosis[0].Cause, r.Diagnosis[0].Confidence)
		}
	}
	if r := Explain([]byte("0x800CCC0E on order 12345-10061, price 10.061,00"), codes.English); slices.ContainsFunc(r.Matches, func(m Match) bool { return m.Code == "10061" }) {
		t.Errorf("a piece of another number is a socket error: %q", matchIDs(r))
	}
}

// Versions and counts are no error numbers, and near misses are helped.
func TestNoErrnoWithoutAWordForIt(t *testing.T) {
	for _, in := range []string{"Outlook 11", "POP3 2", "Windows 11"} {
		if r := Explain([]byte(in), codes.English); len(r.Matches) > 0 {
			t.Errorf("%q: %q", in, matchIDs(r))
		}
	}
	for _, in := range []string{"errno 11", "error 110", "os error 111"} {
		if r := Explain([]byte(in), codes.English); len(r.Matches) == 0 {
			t.Errorf("%q leads nowhere", in)
		}
	}
	for in, want := range map[string]string{"Q8(b)": "Q8", "IXP_E_FAILD_TO_CONNECT": "FAILED_TO_CONNECT"} {
		if r := Explain([]byte(in), codes.English); !slices.Contains(r.DidYou, want) || r.Asked != in {
			t.Errorf("%q: did you mean %q of %q", in, r.DidYou, r.Asked)
		}
	}
	if r := Explain([]byte("IXP_E_FAILED_TO_CONNECT"), codes.English); !slices.Contains(matchIDs(r), "outlook/0x800CCC0E") {
		t.Errorf("%q", matchIDs(r))
	}
}

// What stands around a dialog on a web page is no part of its sentences.
func TestPageFurniture(t *testing.T) {
	page := "★タスク\nX 1通のメッセージをexampleで送信する。 [状態]失敗 [接続]HyperRoad\n★エラー\n送信者の電子メール アドレスが拒否されたため、メッセージを送信できませんでした。" +
		" 送信者の電子メール アドレス : taro@example.com 件名 'test', アカウント : 'example', サーバー : 'smtp.example.jp', プロトコル : SMTP, サーバーの応答 : '451 ... Sender domain must be resolved', ポート : 25, セキュリティ (SSL): なし, サーバー エラー : 451, エラー番号 : 0x800CCC78"
	r := Explain([]byte(page), codes.Japanese)
	if got := r.Diagnosis[0].Cause; got != "sender-rejected" {
		t.Errorf("cause %s", got)
	}
	for _, d := range r.Diagnosis {
		if strings.HasPrefix(d.Cause, "connect") {
			t.Errorf("%s read from %q", d.Cause, d.Evidence)
		}
	}
}

// Evidence is quoted as it stood, not in the form it is compared in.
func TestEvidenceAsWritten(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"The Connection To The Server WAS Reset while sending", "Connection To The Server WAS Reset"},
		{"サーバーに接続できませんでした", "に接続できませんでした"},
		{"ｻｰﾊﾞｰ に 接続できませんでした。ユーザー名またはパスワードが正しくありません。", "ユーザー名またはパスワードが正しくありません"},
		{"メール サーバーへ\nログオンできませんでした", "ログオンできませんでした"},
	} {
		var got []string
		for _, d := range Explain([]byte(tt.in), codes.Japanese).Diagnosis {
			got = append(got, d.Evidence...)
		}
		if slices.ContainsFunc(got, func(e string) bool { return strings.HasPrefix(e, "ー") }) {
			t.Errorf("%q: evidence begins within a word: %q", tt.in, got)
		}
		if !slices.ContainsFunc(got, func(e string) bool {
			return strings.Contains(e, tt.want) || strings.Contains(tt.want, e) && len(e) > 20
		}) {
			t.Errorf("%q: evidence %q, want %q", tt.in, got, tt.want)
		}
	}
}

// A guess is worded as one, in both languages; a text entry speaks for itself.
func TestWordsOfADiagnosis(t *testing.T) {
	d := Explain([]byte("Error Number: 0x800CCC0E"), codes.English).Diagnosis[0]
	if d.Confidence >= 0.4 || !strings.HasPrefix(d.Title, "Possibly: ") || !strings.HasPrefix(d.Why, "If that is it: ") {
		t.Errorf("%.2f %q %q", d.Confidence, d.Title, d.Why)
	}
	d = Explain([]byte("エラー番号: 0x800CCC0E"), codes.Japanese).Diagnosis[0]
	if !strings.HasPrefix(d.Title, "可能性: ") {
		t.Errorf("%q", d.Title)
	}
	for in, want := range map[string]string{
		"550 <ken@example.net> Host unknown": "The recipient's domain does not exist",
		"-ERR [SYS/TEMP] Failed to create /var/spool/mail/.taro.pop with uid 1034, gid 12. Change permissions.": "The POP server may not write into the mail spool",
		"次の添付ファイルは安全でないため、Outlookはアクセスを拒否しました: a.exe":                                                           "The mail program blocks an attachment that could run a program",
	} {
		if d := Explain([]byte(in), codes.English).Diagnosis[0]; d.Title != want {
			t.Errorf("%q: %q, want %q", in, d.Title, want)
		}
	}
}

// The mail program's code and the reply's number do not outweigh "relaying".
func TestRelayingLeads(t *testing.T) {
	for _, reply := range []string{"553 <a@example.com>... Relaying denied", "553 Relay Operation rejected", "553 sorry, relaying denied from your location", "553 5.7.1 relay restriction: not permitted"} {
		r := Explain([]byte("受信者の 1 人がサーバーによって拒否されたため、メッセージを送信できませんでした。 サーバーの応答 : '"+reply+"', ポート : 25, サーバー エラー : 553, エラー番号 : 0x800CCC79"), codes.Japanese)
		if got := r.Diagnosis[0].Cause; got != "relay-denied" {
			t.Errorf("%q leads to %s", reply, got)
		}
	}
}

// Who must change a setting is told where it stands in the program that shows
// the message, in both languages.
func TestStepsOfTheProgram(t *testing.T) {
	for _, tt := range []struct{ in, en, ja string }{
		{"Windows Live Mail Error ID: 0x800CCC92 Server: 'pop.example.com' Server Response: -ERR login failed", "Windows Live Mail", "Windows Live メール"},
		{"Unable to authenticate to Outgoing server (SMTP) smtp.example.com.", "Thunderbird", "Thunderbird"},
		{"送信 (SMTP) サーバー smtp.example.jp の認証に失敗しました。", "Thunderbird", "Thunderbird"},
		{"Cannot Get Mail. The user name or password for “imap.example.com” is incorrect.", "iPhone", "iPhone"},
		{"アカウント : 'a', サーバー : 'pop.example.jp', プロトコル : POP3, ポート : 110, セキュリティ (SSL) : なし, ソケット エラー : 10061, エラー番号 : 0x800CCC0E", "Outlook Express", "Outlook Express"},
		{"Task 'a@example.com - Receiving' reported error (0x800CCC92): 'Your e-mail server rejected your login.'", "Outlook (classic)", "Outlook (クラシック)"},
	} {
		en, ja := Explain([]byte(tt.in), codes.English).Diagnosis[0], Explain([]byte(tt.in), codes.Japanese).Diagnosis[0]
		if !strings.Contains(en.Fixes[0].Text, tt.en) || !strings.HasPrefix(en.Fixes[0].Text, "Where to look in ") || !strings.HasPrefix(ja.Fixes[0].Text, tt.ja) {
			t.Errorf("%q: %q, %q", tt.in, en.Fixes[0].Text, ja.Fixes[0].Text)
		}
	}
	for _, in := range []string{"550 5.1.1 User unknown", "Nov 20 03:11:01 mx postfix/smtpd[8]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x"} {
		for _, fix := range Explain([]byte(in), codes.English).Diagnosis[0].Fixes {
			if strings.HasPrefix(fix.Text, "Where to look") {
				t.Errorf("%q: %q", in, fix.Text)
			}
		}
	}
}

// Successes and questions of a manual are nobody's fault.
func TestNobodyActsOnASuccess(t *testing.T) {
	for _, in := range []string{"250", "2.1.5", "FAQ50", "FAQ57", "FAQ62", "Q11"} {
		r := Explain([]byte(in), codes.English)
		if len(r.Matches) == 0 || r.Matches[0].Who != "" || r.Matches[0].Temporary || len(r.Diagnosis) > 0 {
			t.Errorf("%s: %+v", in, r)
		}
	}
}

// Entries about one and the same event agree on who acts and whether waiting helps.
func TestRelatedEntriesAgree(t *testing.T) {
	for _, group := range [][]string{{"10061", "ECONNREFUSED", "0x8007274D", "0x800CCC0E"}, {"10054", "ECONNRESET", "10053"}, {"SS00", "argosoft/reset-retry"}, {"10060", "ETIMEDOUT", "0x8007274C"}} {
		who := map[string][]string{}
		for _, in := range group {
			if m := Explain([]byte(in), codes.English).Matches; len(m) > 0 {
				k := m[0].Who
				if m[0].Temporary {
					k += " wait"
				}
				who[k] = append(who[k], in)
			} else {
				t.Errorf("%s is not known", in)
			}
		}
		if len(who) != 1 {
			t.Errorf("%s", cmp.Diff(map[string][]string{}, who))
		}
	}
}
