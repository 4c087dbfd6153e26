package main

import (
	"bufio"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"mailsrv/diag/doctor"
)

// hostFlags are the flags of doctor for a server elsewhere.
type hostFlags struct {
	host, user    string
	passwordStdin bool
	password      string // once read
}

// hostOK are the findings that say that a check of another host went well, where
// it is not that of a conversation.
var hostOK = map[string]string{"name": "host.found", "relay": "relay.ok"}

func (h *hostFlags) register(f *pflag.FlagSet) {
	f.StringVar(&h.host, "host", "", "look at this mail server, `HOST`, from here instead of at this machine")
	f.StringVar(&h.user, "user", "", "with --host: log in as this `NAME`; the password comes with --password-stdin")
	f.BoolVar(&h.passwordStdin, "password-stdin", false, "with --user: read the password from standard input, one line")
}

// check reads the flags, and the password the first time.
func (h *hostFlags) check(d *doctorRun) (login doctor.Login, err error) {
	switch {
	case h.host == "" && (h.user != "" || h.passwordStdin):
		return login, usagef("--user and --password-stdin belong to --host")
	case h.host == "":
		return login, nil
	case h.passwordStdin != (h.user != ""):
		return login, usagef("--user and --password-stdin belong together")
	case d.fix || len(d.send) > 0 || len(d.spools) > 0 || d.bundle != "":
		return login, usagef("--host is about another machine: it goes with neither --fix nor --send-matrix nor --spool nor --report")
	case strings.ContainsAny(h.user, "\r\n\x00"):
		return login, usagef("--user must not contain line ends")
	}
	var port int
	if h.host, port, err = hostPort(h.host); err != nil {
		return login, err
	}
	if port != 0 {
		return login, usagef("--host %s: give the host alone; mailsrv probe looks at one port", h.host)
	}
	if h.passwordStdin && h.password == "" {
		line, err := bufio.NewReader(io.LimitReader(d.stdin, 64<<10)).ReadString('\n')
		if err != nil && err != io.EOF {
			return login, usagef("--password-stdin: %w", err)
		}
		if h.password = strings.TrimRight(line, "\r\n"); h.password == "" {
			return login, usagef("--password-stdin: standard input holds no password")
		}
	}
	return doctor.Login{User: h.user, Password: h.password}, nil
}
