package main

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// errorsJa is the Japanese of errors that come from the other rooms, by their
// formats. What has none stays English, behind the Japanese in front of it.
var errorsJa = [][2]string{
	{"data directory %s is in use by the mailsrv with process id %s: stop it first, or give this one another data_dir",
		"データディレクトリー %s は、動いている mailsrv (プロセス %s) が使っています。先にそれを止めるか、こちらの data_dir を別の場所にしてください"},
	{"data directory %s is in use by another mailsrv: stop it first, or give this one another data_dir",
		"データディレクトリー %s は別の mailsrv が使っています。先にそれを止めるか、こちらの data_dir を別の場所にしてください"},
	{"data directory %s cannot be used: %s: set data_dir to a folder that can be written",
		"データディレクトリー %s を使えません: %s。書き込めるフォルダーを data_dir に指定してください"},
	{"data directory %s cannot be used: %s: it must belong to the user that mailsrv runs as",
		"データディレクトリー %s を使えません: %s。mailsrv を動かす利用者のものでなければなりません"},
	{"data directory %s belongs to user number %s and not to %s: chown -R %s",
		"データディレクトリー %s の所有者は利用者番号 %s で、%s ではありません: chown -R %s"},
	{"there is no user %s on this system: useradd --system %s", "このシステムに利用者 %s はいません: useradd --system %s"},
	{"only root can become user %s: start the server as root, or as %s itself",
		"利用者 %s になれるのは root だけです。root か %s として起動してください"},
	{"on Windows the server runs as the account that its service is set to: leave the key user out",
		"Windows では、サーバーはサービスに設定されたアカウントで動きます。user を設定から除いてください"},

	{"an account needs a name", "アカウントには名前が必要です"},
	{"a name has at most 64 characters (RFC 5321 4.5.3.1.1)", "名前は 64 文字までです (RFC 5321 4.5.3.1.1)"},
	{"character %s, %s, is not allowed in an account's name: letters, digits and . _ - + = are",
		"%s 文字目の %s はアカウント名に使えません。使えるのは英字、数字と . _ - + = です"},
	{"points stand singly and inside a name", "ドットは名前の途中に 1 つずつだけ使えます"},
	{"a name does not begin with a hyphen", "名前をハイフンで始めることはできません"},
	{"%s is the name of a device on Windows, where no file can have it", "%s は Windows の装置の名前なので、ファイル名に使えません"},
	{"a password has at most 1024 octets", "パスワードは 1024 オクテットまでです"},
	{"a password holds no control characters", "パスワードに制御文字は使えません"},
	{"%s is a full-width character: switch the input method to direct input", "%s は全角文字です。日本語入力を切って入力してください"},
	{"a password has at least 8 characters; several words in a row are easy to remember and hard to guess",
		"パスワードは 8 文字以上です。単語をいくつか並べると、覚えやすく、推測されにくくなります"},
	{"the name, the domain and well-known words are the first that others try", "名前、ドメイン、よく知られた言葉は、真っ先に試されます"},
	{"a catch-all has no mailbox of its own: forward it to an account", "すべてのアドレスの受け皿にはメールボックスがありません。アカウントに転送してください"},
	{"this address has no mailbox, so it has no password and no quota: its mail goes to other addresses",
		"このアドレスにはメールボックスがないので、パスワードも容量の上限もありません。メールはほかのアドレスに届きます"},
	{"%s is no local domain; these are: %s", "%s はローカルドメインではありません。ローカルドメインは %s です"},
	{"%s cannot lead to itself", "%s を自分自身に転送することはできません"},
	{"%s would lead back to itself: %s", "%s の転送が自分自身に戻ってしまいます: %s"},
	{"there is an account of that name already", "その名前のアカウントはすでにあります"},
	{"no such account", "そのアカウントはありません"},

	{"is still the example: put this machine's own name there, as other servers see it", "例のままです。ほかのサーバーから見えるこのマシンの名前を書いてください"},
	{"is still the example: put your own domain there; mail for this one never reaches you", "例のままです。自分のドメインを書いてください。このドメイン宛てのメールは届きません"},

	{"%s is no domain name", "%s はドメイン名ではありません"},
	{"a domain name has 1 to 253 characters", "ドメイン名は 1 から 253 文字です"},
	{"%s has an empty part between points", "%s にはドットの間が空のところがあります"},
	{"%s is longer than 63 characters", "%s は 63 文字を超えています"},
	{"%s begins or ends with a hyphen", "%s はハイフンで始まるか終わっています"},
	{"%s is not allowed in a domain name", "%s はドメイン名に使えません"},

	{"there is no message %s: the mailbox has %s", "%s 番のメールはありません。メールボックスにあるのは %s 通です"},
	{"there is no message with the id %s", "ID %s のメールはありません"},
	{"%s is the number of one message and the id of another: write number:%s or uid:%s", "%s は、あるメールの番号でもあり、別のメールの ID でもあります。number:%s か uid:%s と書いてください"},
	{"%s is not among the %s deleted messages that can be brought back", "%s は、戻せる %s 通の削除済みメールの中にありません"},
	{"the server does not offer STARTTLS; no password was sent", "サーバーが STARTTLS を提供していません。パスワードは送っていません"},
	{"the mailbox has changed meanwhile; list it again", "その間にメールボックスが変わりました。もう一度一覧してください"},
	{"the server did not confirm it; list the mailbox to see whether it is gone", "サーバーが確認しませんでした。削除されたかどうかは一覧で確かめてください"},
	{"the connection breaks again and again", "接続が何度も切れます"},

	{"the server that runs on this data directory does not answer; look at its log", "このデータディレクトリーで動いているサーバーが応答しません。そのログを見てください"},
	{"its envelope cannot be read; see the log", "封筒のファイルを読み取れません。ログを見てください"},

	{"there is no check %s: doctor --list names them", "%s という検査はありません。一覧は doctor --list で見られます"},
	{"there is no check %s of another host: doctor --list names them", "ほかのホストについての %s という検査はありません。一覧は doctor --list で見られます"},
	{"%s is no stage: want %s", "%s という段階はありません。指定できるのは %s です"},

	{"%s is not in the catalogue; did you mean %s?", "%s はカタログにありません。%s のことですか?"},
	{"%s is not in the catalogue", "%s はカタログにありません (一覧は mailsrv codes list)"},
	{"is a directory; --recursive reads the files in it", "ディレクトリーです。--recursive を付けると中のファイルを読みます"},
	{"there is no mail spool at the usual places (/var/mail, /var/spool/mail); name its directory",
		"標準の場所 (/var/mail、/var/spool/mail) にメールスプールがありません。ディレクトリーを指定してください"},
	{"%s; name one with --resolver ADDR", "%s。--resolver ADDR で指定してください"},
	{"the account is removed, but not its mail", "アカウントは削除しましたが、そのメールを削除できませんでした"},
	{"the first account", "最初のアカウント"},
	{"holds no key in PEM form", "PEM 形式の鍵がありません"},
	{"is a forward, with which nobody logs in", "転送アドレスなので、ログインには使えません"},

	{"the disk is full", "ディスクがいっぱいです"},
	{"the file system is read-only", "ファイルシステムが読み取り専用です"},
	{"no such file or directory", "ファイルまたはフォルダーがありません"},
	{"permission denied", "アクセスする権限がありません"},
	{"is a directory", "フォルダーです"},
	{"not a directory", "フォルダーではありません"},
	{"no space left on device", "ディスクがいっぱいです"},
	{"read-only file system", "ファイルシステムが読み取り専用です"},
}

// errorForms are errorsJa, compiled when the first error is said in Japanese.
var errorForms = sync.OnceValue(func() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, e := range errorsJa {
		out = append(out, regexp.MustCompile("^"+strings.ReplaceAll(regexp.QuoteMeta(e[0]), "%s", "(.+?)")+"$"))
	}
	return out
})

// errorJa is an error's text in Japanese, line by line. What stands in front of
// the first colons, such as a command or a file, stays.
func errorJa(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = errorLineJa(line)
	}
	return strings.Join(lines, "\n")
}

func errorLineJa(line string) string {
	for i, form := range errorForms() {
		if found := form.FindStringSubmatch(line); found != nil {
			var args []any
			for _, arg := range found[1:] {
				args = append(args, errorLineJa(arg))
			}
			return fmt.Sprintf(errorsJa[i][1], args...)
		}
	}
	if head, tail, ok := strings.Cut(line, ": "); ok {
		return errorLineJa(head) + ": " + errorLineJa(tail)
	}
	return line
}
