package main

import (
	"fmt"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"mailsrv/codes"
	"mailsrv/diag/report"
	"mailsrv/server/config"
	"mailsrv/server/privilege"
)

func init() { commands = append(commands, configCommand) }

func configCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "check [FILE]",
			Short: "Say what is wrong in the configuration file, with its lines",
			Long: `Say what is wrong in the configuration file: every mistake with its line, what
is accepted there, and what was probably meant. Exit code 2 when there is any.
Examples of "config default" that are still in it are warned of.`,
			Args: cobra.MaximumNArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				if len(args) == 1 {
					a.configFile = args[0]
				}
				return a.configCheck()
			},
		},
		&cobra.Command{
			Use:   "show",
			Short: "Show the settings in effect, defaults filled in",
			Args:  cobra.NoArgs,
			RunE:  func(*cobra.Command, []string) error { return a.configShow() },
		},
		&cobra.Command{
			Use:   "default",
			Short: "Print a commented configuration file to begin with",
			Args:  cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprint(a.stdout, config.Example())
				return err
			},
		},
	)
	return cmd
}

// loadConfig reads the configuration that flag, environment and folders lead
// to; with mistakes in it the error lists them all.
func (a *app) loadConfig() (*config.Config, error) {
	c, problems := config.Load(config.Find(a.configFile))
	if len(problems) == 0 {
		return c, nil
	}
	return nil, usagef("%w", problems)
}

// loadForChange is loadConfig for a command that changes what lies in the data
// directory. Root does that as the directory's owner, so that a server that
// runs as that user can read what was written.
func (a *app) loadForChange() (*config.Config, error) {
	c, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	return c, privilege.BecomeOwner(c.DataDir)
}

func (a *app) configCheck() error {
	file := config.Find(a.configFile)
	_, problems := config.Load(file)
	var warnings config.Problems
	if file != "" && len(problems) == 0 {
		warnings = config.Placeholders(file)
	}
	if a.json {
		doc := struct {
			File     string          `json:"file"`
			Problems config.Problems `json:"problems"`
			Warnings config.Problems `json:"warnings,omitempty"`
		}{file, problems, warnings}
		if doc.Problems == nil {
			doc.Problems = config.Problems{}
		}
		if err := report.JSON(a.stdout, doc, true); err != nil {
			return err
		}
	} else {
		switch {
		case len(problems) > 0 && a.lang == codes.Japanese:
			fmt.Fprintln(a.stdout, problemsIn(problems, a.lang))
		case len(problems) > 0:
			fmt.Fprintln(a.stdout, problems.Error())
		}
		for _, w := range warnings {
			fmt.Fprintln(a.stdout, a.lang.Pick("warning: "+w.Error(), "注意: "+errorJa(w.Error())))
		}
		switch {
		case len(problems) > 0:
			fmt.Fprintf(a.stdout, a.lang.Pick("\n%d to mend.\n", "\n直すところが %d 件あります。\n"), len(problems))
		case len(warnings) > 0:
			fmt.Fprintln(a.stdout, file+a.lang.Pick(": no mistakes, but see the warnings", ": 誤りはありませんが、注意を確かめてください"))
		case file == "":
			fmt.Fprintln(a.stdout, a.lang.Pick("No configuration file: the defaults hold.", "設定ファイルはありません。既定の設定で動きます。"))
		default:
			fmt.Fprintln(a.stdout, file+a.lang.Pick(": nothing wrong", ": 問題ありません"))
		}
	}
	if len(problems) > 0 {
		return exit(exitUsage)
	}
	return nil
}

func (a *app) configShow() error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if a.json { // the keys and values of the file, so that nobody learns two spellings
		doc := map[string]any{}
		if err := toml.Unmarshal([]byte(c.TOML()), &doc); err != nil {
			return fmt.Errorf("config show: %w", err)
		}
		doc["file"] = c.File
		return report.JSON(a.stdout, doc, true)
	}
	from := c.File
	if from == "" {
		from = a.lang.Pick("the built-in defaults", "組み込みの既定値")
	}
	_, err = fmt.Fprintf(a.stdout, "# %s\n%s", from, c.TOML())
	return err
}
