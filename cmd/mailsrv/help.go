package main

import (
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"mailsrv/codes"
)

// helpIn makes --help, and the usage it shows, speak the language asked for
// (the manual pages are English), and refuse a command that does not exist.
func (a *app) helpIn(root *cobra.Command) {
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages |", ".FlagUsagesWrapped columns |"))
	completeChoices(root)
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if words := cmd.Flags().Args(); cmd.HasAvailableSubCommands() && len(words) > 0 {
			a.noHelp = argumentError(cmd, words)
			return
		}
		if a.languageOf(nil) == codes.Japanese {
			japanese(root)
		}
		show(cmd, args)
	})
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Run, c.RunE = nil, func(_ *cobra.Command, args []string) error {
				cmd, rest, err := root.Find(args)
				if err != nil || cmd.HasAvailableSubCommands() && len(rest) > 0 {
					return argumentError(cmd, rest)
				}
				cmd.InitDefaultHelpFlag()
				return cmd.Help()
			}
		}
	}
}

func japanese(cmd *cobra.Command) {
	if short, ok := shortJa[pathOf(cmd)]; ok {
		cmd.Short = short
	}
	if long, ok := longJa[pathOf(cmd)]; ok {
		cmd.Long = long
	}
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if usage, ok := flagsJa[f.Usage]; ok {
			f.Usage = usage
		}
	})
	if !cmd.HasParent() {
		cmd.SetUsageTemplate(headings.Replace(cmd.UsageTemplate()))
		for name, text := range globalFlagsJa {
			cmd.PersistentFlags().Lookup(name).Usage = text
		}
	}
	cmd.InitDefaultHelpFlag()
	if f := cmd.Flags().Lookup("help"); f != nil {
		f.Usage = "このヘルプを表示する"
	}
	for _, c := range cmd.Commands() {
		japanese(c)
	}
}

func init() {
	byDefault := regexp.MustCompile(`(?m)\(default (.*)\)$`)
	cobra.AddTemplateFunc("columns", columns)
	cobra.AddTemplateFunc("defaultsJa", func(usages string) string {
		return byDefault.ReplaceAllString(usages, "(既定 $1)")
	})
}

// columns is how wide the terminal is that help goes to; 0 elsewhere, where
// nothing is wrapped.
func columns() int {
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		return max(w, 40)
	}
	return 0
}

// completeChoices has the shell complete the value of each flag whose help
// names the choices: "en|ja".
func completeChoices(cmd *cobra.Command) {
	register := func(f *pflag.Flag) {
		value, _ := pflag.UnquoteUsage(f)
		if strings.Contains(value, "|") && strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789|") == "" {
			// It fails only for a flag that has one already.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(strings.Split(value, "|"), cobra.ShellCompDirectiveNoFileComp))
		}
	}
	cmd.PersistentFlags().VisitAll(register)
	cmd.LocalNonPersistentFlags().VisitAll(register)
	for _, c := range cmd.Commands() {
		completeChoices(c)
	}
}

// headings are those of cobra's usage template, and where it shows flags.
var headings = strings.NewReplacer(
	"FlagUsagesWrapped columns |", "FlagUsagesWrapped columns | defaultsJa |",
	"Usage:", "使い方:",
	"Aliases:", "別名:",
	"Examples:", "例:",
	"Available Commands:", "コマンド:",
	"Additional Commands:", "その他のコマンド:",
	"Global Flags:", "共通のフラグ:",
	"Flags:", "フラグ:",
	"Additional help topics:", "その他のヘルプ:",
	"[command]", "[コマンド]",
	`Use "{{.CommandPath}} [command] --help" for more information about a command.`, `各コマンドの説明は "{{.CommandPath}} [コマンド] --help" で表示します。`,
)

var globalFlagsJa = map[string]string{
	"config":  "設定ファイル `file` (既定は $MAILSRV_CONFIG、次に ./mailsrv.toml、次にシステムの標準の場所)",
	"lang":    "表示する言語 `en|ja` (既定は $MAILSRV_LANG、次にロケール)",
	"json":    "結果を JSON で標準出力に書く (入力が複数なら 1 行に 1 件)",
	"color":   "色を付けるかどうか `auto|always|never`",
	"verbose": "詳しく表示する",
	"quiet":   "表示を減らす",
}

// shortJa says in one line what each command does.
var shortJa = map[string]string{
	"":                      "メールサーバーと、メールサーバーの診断ツール",
	"check-mx":              "ドメインをほかのメールサーバーからの見え方で調べる",
	"codes":                 "カタログの内容を一覧、表示する",
	"codes list":            "コード、応答、メッセージ、項目の ID と題名を一覧する",
	"codes show":            "コード、記号、項目の説明をすべて表示する",
	"completion":            "シェルの補完スクリプトを出力する",
	"completion bash":       "bash の補完スクリプトを出力する",
	"completion fish":       "fish の補完スクリプトを出力する",
	"completion powershell": "PowerShell の補完スクリプトを出力する",
	"completion zsh":        "zsh の補完スクリプトを出力する",
	"config":                "設定を確認、表示する",
	"config check":          "設定ファイルの間違いを行番号とともに示す",
	"config default":        "出発点になる注釈付きの設定ファイルを出力する",
	"config show":           "既定値も含めて、有効な設定を表示する",
	"dns":                   "メールのドメインに必要な DNS レコード",
	"dns records":           "ドメインに登録する DNS レコードを出力する",
	"doctor":                "このマシンと mailsrv を診断し、最初に直すものを示す",
	"domain":                "ローカルドメインを追加、一覧、削除する",
	"domain add":            "受信するドメインを追加する",
	"domain list":           "ローカルドメインと、書かれている場所、アドレスの数を一覧する",
	"domain remove":         "ドメインの受信をやめる",
	"explain":               "メールのエラーの意味、原因、対処を説明する",
	"findings":              "doctor や check-mx などが報告する所見の一覧",
	"help":                  "コマンドの説明を表示する",
	"locks":                 "メールスプールに残ったロックを見つけて片付ける",
	"locks clear":           "取り残されたメールを戻し、誰も使っていないロックを消す",
	"locks scan":            "メールスプールのロックを一覧し、使用中か残骸かを示す",
	"mailbox":               "メールを 1 通ずつ一覧、表示、削除する。メールボックスファイルを検査、修復する",
	"mailbox check":         "メールボックスファイル (mbox) の形式の異常を示す",
	"mailbox delete":        "どのメールソフトでも受信できないメールを削除する",
	"mailbox history":       "誰が、いつ、どこから、どのメールを削除したかを表示する",
	"mailbox undelete":      "削除したメールをメールボックスに戻す",
	"mailbox list":          "メールボックスの一覧: サイズ、差出人、件名",
	"mailbox repair":        "メールボックスファイルの形式を直す (元のファイルは残す)",
	"mailbox show":          "メール 1 通のヘッダーを表示する",
	"man":                   "マニュアルページを書き出す",
	"probe":                 "メールサーバーと段階ごとに対話し、どこで失敗するかを示す",
	"queue":                 "まだ送れていないメールとその理由を示し、操作する",
	"queue hold":            "送信を試みずに保留する",
	"queue list":            "待っているメールとその理由を一覧する",
	"queue pause":           "配送を止める (受け付けは続ける)",
	"queue release":         "保留を解き、すぐに送信を試みる",
	"queue remove":          "メールを削除する (誰にも通知しない)",
	"queue resume":          "配送を再開する",
	"queue retry":           "予定を待たずに今すぐ送信を試みる",
	"queue show":            "メール 1 通の宛先ごとの状態、失敗の理由、対処を表示する",
	"relay-test":            "第三者から第三者へのメールを中継してしまわないかを試す",
	"serve":                 "メールサーバーを動かす",
	"simulate":              "メールサーバーの既知の障害をこのマシンの中で再現する",
	"user":                  "アカウントを作成、表示、変更する",
	"user add":              "アカウントを作る",
	"user quota":            "メールボックスの容量の上限を表示、変更する",
	"user forward":          "アドレス宛てのメールを、ここやほかのサーバーのアドレスへ転送する",
	"user list":             "アカウントと転送先を一覧する",
	"user passwd":           "パスワードを変える",
	"user remove":           "アカウントを削除する (--mail がなければメールは残す)",
	"user show":             "アカウントのメールボックス、別のアドレス、ファイルを表示する",
	"version":               "バージョンを表示する",
}
