package config

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailsrv/server/address"
)

// maxRetry bounds the durations of [retry].
const maxRetry = 90 * 24 * time.Hour

// maxWaits bounds how many steps a schedule has.
const maxWaits = 100

func noSchedule(c *Config, v value) fault {
	switch c.Retry.Schedule = nil; {
	case v.kind == listValue && len(v.list) == 0:
		return bad(`needs a wait, such as ["10m"]`)
	case len(v.list) > maxWaits:
		return bad("has at most %d steps", maxWaits)
	}
	return fault{}
}

func addWait(c *Config, v value) fault {
	var d time.Duration
	f := duration(&d, time.Second, maxRetry)(v)
	if f.kind == "" && len(c.Retry.Schedule) < maxWaits {
		c.Retry.Schedule = append(c.Retry.Schedule, d)
	}
	return f
}

// smartHost reads "HOST:PORT"; empty means none.
func smartHost(to func(*Config) *string) func(*Config, value) fault {
	return func(c *Config, v value) fault { return readSmartHost(to(c), v) }
}

func readSmartHost(to *string, v value) fault {
	const accepted = `must be "HOST:PORT", such as "smtp.example.net:587" or "192.0.2.25:25"`
	if v.kind != stringValue {
		return bad("%s", accepted)
	}
	if v.text == "" {
		*to = ""
		return fault{}
	}
	host, port, err := net.SplitHostPort(v.text)
	if err != nil {
		f := bad("%s", accepted)
		if alone := strings.Trim(v.text, "[]"); goodHost(alone) {
			f = f.meant(quoted(net.JoinHostPort(alone, "587")))
		}
		return f
	}
	n, err := strconv.Atoi(port)
	switch {
	case err != nil || n < 1 || n > 65535 || port != strconv.Itoa(n):
		return bad("the port must be a number from 1 to 65535; %s", accepted)
	case !goodHost(host):
		return bad("%q is neither a host name nor an address; %s", host, accepted)
	}
	*to = net.JoinHostPort(strings.ToLower(host), port)
	return fault{}
}

var routeSettings = []setting{
	{key: "relay.route[].senders", item: pattern(func(c *Config) *[]address.Pattern { return &last(c.Relay.Routes).Senders })},
	{key: "relay.route[].smart_host", set: func(c *Config, v value) fault {
		r := last(c.Relay.Routes)
		f := readSmartHost(&r.SmartHost, v)
		r.direct = f.kind == "" && r.SmartHost == ""
		return f
	}},
	{key: "relay.route[].username", set: func(c *Config, v value) fault { return text(&last(c.Relay.Routes).Auth.Username)(v) }},
	{key: "relay.route[].password", set: func(c *Config, v value) fault { return text(&last(c.Relay.Routes).Auth.Password)(v) }, secret: true},
	{key: "relay.route[].password_file", set: path(func(c *Config) *string { return &last(c.Relay.Routes).Auth.PasswordFile })},
}

// routes fills in what [[relay.route]] tables leave to [relay], and finds those
// that lack something.
func (l *loader) routes() (ps Problems) {
	hostWrong := false
	for _, p := range l.problems {
		if strings.HasPrefix(p.Key, "relay.route[].") {
			return nil
		}
		hostWrong = hostWrong || p.Key == "relay.smart_host"
	}
	for i := range l.c.Relay.Routes {
		r := &l.c.Relay.Routes[i]
		if r.SmartHost == "" && !r.direct {
			r.SmartHost = l.c.Relay.SmartHost
		}
		wrong := func(message string) {
			ps = append(ps, Problem{Kind: BadValue, Line: r.Line, Key: "relay.route", Message: message})
		}
		a := r.Auth
		switch {
		case len(r.Senders) == 0:
			wrong(`needs senders, such as senders = ["taro@example.com"]`)
		case r.SmartHost == "" && !r.direct && !hostWrong:
			wrong(`needs smart_host, because [relay] has none: "smtp.example.net:587", or "" for straight to the mail hosts (MX)`)
		case r.direct && a != (RelayAuth{}):
			wrong(`logs in nowhere: with smart_host = "" mail goes straight to the mail hosts (MX)`)
		case a.Password != "" && a.PasswordFile != "":
			wrong("has password and password_file: leave one of them out")
		case a.Username != "" && a.Password == "" && a.PasswordFile == "":
			wrong("has a username and needs password or password_file beside it")
		case a.Username == "" && (a.Password != "" || a.PasswordFile != ""):
			wrong("has a password and needs username beside it")
		}
	}
	return ps
}

// Way is a smart host, and the login there.
type Way struct {
	Key       string // of the setting: "relay", or "relay.route" with its Line
	Line      int
	SmartHost string
	Auth      RelayAuth
}

// Ways lists the smart hosts with their logins, each once, that of [relay]
// first.
func (r Relay) Ways() (out []Way) {
	add := func(w Way) {
		same := func(o Way) bool { return o.SmartHost == w.SmartHost && o.Auth == w.Auth }
		if w.SmartHost != "" && !slices.ContainsFunc(out, same) {
			out = append(out, w)
		}
	}
	add(Way{Key: "relay", SmartHost: r.SmartHost, Auth: r.Auth})
	for _, route := range r.Routes {
		add(Way{Key: "relay.route", Line: route.Line, SmartHost: route.SmartHost, Auth: route.Auth})
	}
	return out
}

// PasswordKey names the setting that says where the password is, as in
// "relay.route.password_file (line 12)".
func (w Way) PasswordKey() string {
	if w.Key == "relay" {
		return "relay.auth.password_file"
	}
	return fmt.Sprintf("%s.password_file (line %d)", w.Key, w.Line)
}

func goodHost(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" || err != nil && checkName(s) == nil
}

// maxPasswordFile bounds how much of a password file is read.
const maxPasswordFile = 4 << 10

// Secret returns the password for the smart host, from where the
// configuration says it is.
func (a RelayAuth) Secret() (string, error) {
	if a.PasswordFile == "" {
		return a.Password, nil
	}
	f, err := os.Open(a.PasswordFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPasswordFile))
	if err != nil {
		return "", err
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	password := strings.TrimSuffix(string(first), "\r")
	if password == "" {
		return "", fmt.Errorf("%s: its first line, the password, is empty", a.PasswordFile)
	}
	return password, nil
}
