package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"mailsrv/diag/report"
	"mailsrv/server"
	"mailsrv/server/config"
	"mailsrv/server/privilege"
	"mailsrv/server/store"
)

func init() { commands = append(commands, serveCommand) }

func serveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the mail server",
		Long: `Run the mail server until it is told to stop (Ctrl-C, SIGTERM); what is under
way then is finished first. On SIGHUP it reads its configuration, certificates and
log file anew: sessions go on, and with a mistake in the file everything stays
as it was (docs/operations.md). Windows has no SIGHUP: restart it there.

Without a configuration file it is a server for trying out: on this machine
only, with data in ./mailsrv-data and one account whose password is shown once.
With one, users who log in can also send to others (relay.allow): what cannot be
delivered at once waits in the queue (mailsrv queue list).
"mailsrv config default" prints a file for a real one.

Log lines go to standard error.`,
		Example: `  mailsrv serve
  mailsrv serve --config /etc/mailsrv/mailsrv.toml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context()) },
	}
}

func (a *app) serve(ctx context.Context) error {
	// Whoever reads the log may go ("mailsrv serve 2>&1 | less"): without this
	// the next line of it would end the server.
	signal.Ignore(syscall.SIGPIPE)
	// The same for a reload that comes too early or where there is nothing to
	// reload: it must not end the server.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	cfg, err := a.serveConfig()
	if err != nil {
		return err
	}
	log, err := server.OpenLog(cfg.Log, a.stderr)
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("log.file: %w", err)}
	}
	defer log.Close()
	s, err := server.New(cfg, version, a.lang, log.Logger)
	if err != nil {
		var user *server.UserError
		if errors.As(err, &user) {
			return usagef("%s: user: %w", cfg.File, err)
		}
		var cert *server.CertError
		if errors.As(err, &cert) {
			return usagef("%s: [tls]: %w", cfg.File, err)
		}
		var password *server.PasswordError
		if errors.As(err, &password) {
			return usagef("%s: %w", cfg.File, err)
		}
		return &exitError{exitFailed, err}
	}
	screen := screen{cfg: cfg}
	if err := s.Listen(); err != nil {
		var listen *server.ListenError
		if errors.As(err, &listen) {
			err = a.listenFailed(listen)
		} else {
			err = &exitError{exitFailed, err}
		}
		return errors.Join(err, s.Close())
	}
	screen.addrs = s.Addrs()
	if cfg.File == "" {
		account, password, created, err := s.FirstAccount()
		if err != nil {
			return &exitError{exitFailed, errors.Join(fmt.Errorf("the first account: %w", err), s.Close())}
		}
		if created {
			screen.account, screen.password = account.Address(), password
		}
	}
	if err := a.firstScreen(screen); err != nil {
		return errors.Join(err, s.Close())
	}
	if cfg.Open() && privilege.Root() {
		log.Warn(`the server runs as root and need not: user = "mailsrv" in the configuration, or start it as another user`)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-reload:
				if cfg.File == "" { // nothing to reload: the terminal has been closed
					stop()
					continue
				}
				a.reload(ctx, s, log)
			case <-ctx.Done():
				return
			}
		}
	})
	err = s.Run(ctx)
	stop()
	wg.Wait()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}

// serveConfig is loadConfig with the log level that the flags ask for.
func (a *app) serveConfig() (*config.Config, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	switch {
	case a.verbose:
		cfg.Log.Level = "debug"
	case a.quiet:
		cfg.Log.Level = "warn"
	}
	return cfg, nil
}

// reload has the server follow its configuration file. With a mistake in that
// nothing changes, and the log says where it is.
func (a *app) reload(ctx context.Context, s *server.Server, log *server.Log) {
	const kept = "configuration not reloaded, the old one stays"
	cfg, err := a.serveConfig()
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			log.Error(kept, "error", strings.TrimSpace(line))
		}
		return
	}
	if err := log.Configure(cfg.Log); err != nil {
		log.Error("log not changed", "error", err)
	}
	restart, err := s.Reload(ctx, cfg)
	if err != nil {
		log.Error(kept, "error", err)
		return
	}
	if len(restart) > 0 {
		log.Warn("some settings change only when the server is restarted", "settings", strings.Join(restart, " "))
	}
	log.Info("configuration reloaded", "file", cfg.File)
}

// screen is what serve says first.
type screen struct {
	cfg               *config.Config
	addrs             []store.RunAddr
	account, password string // of the account made just now
}

// service is one line of the screen: what a service is for.
type service struct{ name, en, ja string }

var services = []service{
	{config.SMTP, "mail from other servers", "ほかのサーバーからのメール"},
	{config.Submission, "mail from users, who log in", "利用者からの送信（ログインが必要）"},
	{config.Submissions, "mail from users, TLS from the start", "利用者からの送信（最初から TLS）"},
	{config.POP3, "mailboxes", "メールの受信"},
	{config.POP3S, "mailboxes, TLS from the start", "メールの受信（最初から TLS）"},
	{config.Web, "/metrics and /healthz, over HTTP", "/metrics と /healthz（HTTP）"},
}

// off lists what is not on and why.
func (s screen) off(pick func(en, ja string) string) [][2]string {
	var out [][2]string
	noFile := s.cfg.File == ""
	for _, sv := range services {
		if slices.ContainsFunc(s.addrs, func(a store.RunAddr) bool { return a.Service == sv.name }) {
			continue
		}
		why := pick("not named in [listen]", "[listen] に書かれていません")
		if noFile {
			why = pick("needs a configuration file", "設定ファイルが必要です")
		}
		out = append(out, [2]string{sv.name, why})
	}
	if noFile {
		out = append(out, [2]string{"TLS", pick("not needed on this machine alone", "このコンピューターの中だけなら不要です")})
	}
	if !s.cfg.Relay.Allow {
		why := pick("relay.allow is false: this server only receives", "relay.allow が false なので、受信だけをします")
		if noFile {
			why = pick("needs a configuration file (@localhost gets no answers)", "設定ファイルが必要です（@localhost には返信が届きません）")
		}
		out = append(out, [2]string{pick("sending out", "外への送信"), why})
	}
	return out
}

// way says how mail goes out.
func way(r config.Relay, pick func(en, ja string) string) string {
	usual := usualWay(r, pick)
	if n := len(r.Routes); n > 0 {
		usual += fmt.Sprintf(pick("; other ways for certain senders: %d (relay.route)", "。送信者によって別の経路: %d 件 (relay.route)"), n)
	}
	return usual
}

func usualWay(r config.Relay, pick func(en, ja string) string) string {
	switch {
	case r.SmartHost == "":
		return pick("straight to the mail hosts (MX) of each domain, port 25", "各ドメインのメールサーバー (MX) へ直接、ポート 25")
	case r.Auth.Username == "":
		return fmt.Sprintf(pick("through %s (relay.smart_host)", "%s 経由 (relay.smart_host)"), r.SmartHost)
	}
	return fmt.Sprintf(pick("through %s as %s (relay.smart_host)", "%s 経由、%s でログイン (relay.smart_host)"), r.SmartHost, r.Auth.Username)
}

func (a *app) firstScreen(s screen) error {
	dataDir, err := filepath.Abs(s.cfg.DataDir)
	if err != nil {
		dataDir = s.cfg.DataDir
	}
	pick := a.lang.Pick
	if a.json {
		doc := map[string]any{
			"version": version, "pid": os.Getpid(), "config": s.cfg.File, "data_dir": dataDir,
			"hostname": s.cfg.Hostname, "domains": s.cfg.Domains, "listen": s.addrs,
		}
		if s.account != "" {
			doc["account"] = map[string]string{"address": s.account, "password": s.password}
		}
		return report.JSON(a.stdout, doc, false)
	}
	p := a.printer()
	row := func(label, text string) { p.Labelled(2, pad(label, 14), 16, text) }
	if !a.quiet {
		p.Line(0, p.Bold(fmt.Sprintf(pick("mailsrv %s is running (process %d); Ctrl-C stops it", "mailsrv %s が動いています（プロセス %d）。Ctrl-C で止まります"), version, os.Getpid())))
		from := s.cfg.File
		if from == "" {
			from = pick("none: a server for trying out, on this machine only", "なし: このコンピューターの中だけで試すためのサーバーです")
		}
		row(pick("configuration", "設定ファイル"), from)
		row(pick("data", "データ"), dataDir)
		p.Blank()
		for _, sv := range services {
			for _, addr := range s.addrs {
				if addr.Service == sv.name {
					row(sv.name, pad(addr.Addr, 20)+"  "+pick(sv.en, sv.ja))
				}
			}
		}
		switch {
		case s.cfg.TLS.Cert != "":
			row("TLS", s.cfg.TLS.Cert)
		case s.cfg.OffersTLS():
			row("TLS", pick("self-signed certificate: clients will warn until [tls] names a real one", "自己署名の証明書: [tls] に本物を書くまで、メールソフトは警告を出します"))
		}
		if s.cfg.Relay.Allow {
			row(pick("sending out", "外への送信"), way(s.cfg.Relay, pick))
		}
		for _, o := range s.off(pick) {
			row(o[0], p.Faint(pick("off: ", "なし: ")+o[1]))
		}
	}
	if s.account != "" {
		if !a.quiet {
			p.Blank()
		}
		row(pick("account", "アカウント"), p.Bold(s.account))
		row(pick("password", "パスワード"), p.Bold(s.password)+"  "+pick("(shown only now)", "（表示されるのは今だけです）"))
	}
	if a.quiet {
		return nil
	}
	p.Blank()
	a.nextStep(p, s)
	p.Blank()
	return nil
}

// nextStep says what to do now, with commands that work as they stand.
func (a *app) nextStep(p *report.Printer, s screen) {
	pick := a.lang.Pick
	steps := [][2]string{{"mailsrv doctor --stage local", pick("sends itself a message and fetches it", "自分宛てに送り、受け取って確かめる")}}
	if s.cfg.File == "" {
		if s.account == "" { // its password was shown at the first start only
			steps = append(steps,
				[2]string{"mailsrv user list", pick("shows the accounts there are", "いまあるアカウントを見る")},
				[2]string{"mailsrv user passwd postmaster", pick("makes a new password for a lost one", "忘れたパスワードを作り直す")})
		}
		steps = append(steps,
			[2]string{"mailsrv user add NAME", pick("makes another account", "アカウントを追加する")},
			[2]string{"mailsrv config default > mailsrv.toml", pick("begins a real server's settings", "本番用の設定を書き始める")})
	} else {
		steps = append(steps, [2]string{"mailsrv user add --required NAME", pick("makes an account; postmaster and abuse lead to it", "アカウントと、そこへ届く postmaster や abuse を作る")})
	}
	p.Line(0, pick("Next:", "次にすること:"))
	wide := 0
	for i := range steps {
		steps[i][0] = p.Command(steps[i][0])
		wide = max(wide, len(steps[i][0]))
	}
	for _, step := range steps {
		fmt.Fprintln(p.W, "  "+pad(step[0], wide+1)+" "+p.Faint(step[1]))
	}
}
