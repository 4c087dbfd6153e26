package config

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
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
func smartHost(c *Config, v value) fault {
	const accepted = `must be "HOST:PORT", such as "smtp.example.net:587" or "192.0.2.25:25"`
	if v.kind != stringValue {
		return bad("%s", accepted)
	}
	if v.text == "" {
		c.Relay.SmartHost = ""
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
	c.Relay.SmartHost = net.JoinHostPort(strings.ToLower(host), port)
	return fault{}
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
