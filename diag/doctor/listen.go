package doctor

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/host"
	"mailsrv/probes/pop3"
	"mailsrv/probes/port"
)

// ListenEvidence is what can be found out about an address that cannot be
// listened on. serve and the ports check judge it by the same function.
type ListenEvidence struct {
	Service  string // "pop3"
	Network  string // "tcp", "tcp4", "tcp6"
	Addr     string // as configured: "127.0.0.1:110"
	Err      error  // of listening
	Holders  []port.Holder
	Greeting string      // what the holder says to those who connect
	Excluded *port.Range // Windows keeps these ports
	DataDir  string      // of the other mailsrv that holds the port
}

// GatherListen looks who is in the way. all are the machine's listening
// sockets; nil looks them up.
func GatherListen(ctx context.Context, service, network, addr string, err error, all []port.Holder) ListenEvidence {
	e := ListenEvidence{Service: service, Network: network, Addr: addr, Err: err}
	if all == nil {
		all, _ = port.Listeners(ctx) // unknown holders are judged as such
	}
	why := port.Why(err)
	if err == nil || why == port.InUse || why == port.Permission {
		e.Holders = port.Holding(all, addr)
	}
	if why == port.Permission {
		if rs, xerr := port.Excluded(ctx); xerr == nil {
			if r, in := port.InRange(rs, addr); in {
				e.Excluded = &r
			}
		}
	}
	if len(e.Holders) == 0 {
		return e
	}
	h := e.Holders[0]
	switch p, known := h.Product(); {
	case p.Name == "mailsrv":
		if lock := host.OpenFile(h.Process.PID, "server.lock"); lock != "" {
			e.DataDir = filepath.Dir(lock)
		}
	case !known:
		e.Greeting = greeting(ctx, h)
	}
	return e
}

// greeting connects to a holder and reads what it says first. Most servers on
// mail ports greet; one that does not is left alone after a second.
func greeting(ctx context.Context, h port.Holder) string {
	ip := h.Local.Addr()
	if ip.IsUnspecified() {
		ip = loopback(ip)
	}
	c, err := pop3.Dial(ctx, net.JoinHostPort(ip.String(), strconv.Itoa(int(h.Local.Port()))), pop3.Options{Timeout: time.Second})
	if err != nil {
		return ""
	}
	defer c.Close()
	reply, _ := c.Greeting() // a greeting that is not POP3 stands in the reply all the same
	return reply.Raw
}

// JudgeListen says why a service cannot listen: the finding that serve prints
// when it fails, and doctor before.
func JudgeListen(e ListenEvidence) diag.Finding {
	subject := e.Service + " " + e.Addr
	ev := diag.Evidence{"listener": e.Service, "address": e.Addr, "setting": "listen." + e.Service}
	if name := dial.Errno(e.Err); name != "" {
		ev["errno"] = name
	}
	if n := dial.Winsock(e.Err); n != 0 {
		ev["winsock"] = n
	}
	_, number, _ := net.SplitHostPort(e.Addr)
	text := func(f diag.Finding) diag.Finding {
		product, _ := ev["product"].(string)
		kind, _ := ev["kind"].(string)
		return f.With("port", number).With("other_address", otherAddress(e.Addr)).With("os", runtime.GOOS).
			With("product_name", product).With("product_kind", kind)
	}
	switch why := port.Why(e.Err); {
	// A port without rights for us, or exclusively taken on Windows, is refused
	// before anybody looks whether it is free.
	case e.Err == nil, why == port.InUse, why == port.Permission && len(e.Holders) > 0 && e.Excluded == nil:
		return text(inUse(e, subject, ev))
	case why == port.Permission && e.Excluded != nil:
		ev["from"], ev["to"] = e.Excluded.From, e.Excluded.To
		return text(diag.New("port.excluded_range", subject, ev))
	case why == port.Permission:
		exe, err := os.Executable()
		if err != nil {
			exe = "mailsrv"
		}
		f := diag.New("port.permission", subject, ev).With("exe", shellWord(exe))
		if n, err := strconv.Atoi(number); err == nil && n < 1024 {
			f = f.With("low", true)
		}
		return text(f)
	case why == port.NotLocal:
		return text(diag.New("port.address_not_local", subject, ev))
	}
	ev["error"] = fmt.Sprint(e.Err)
	return text(diag.New("port.unusable", subject, ev))
}

// inUse names the holder.
func inUse(e ListenEvidence, subject string, ev diag.Evidence) diag.Finding {
	ev["errno"], ev["winsock"] = "EADDRINUSE", 10048
	if len(e.Holders) == 0 {
		return diag.New("port.in_use", subject, ev).With("stop", stopCommand(port.Holder{}, port.Product{}, e.Addr))
	}
	h := e.Holders[0]
	ev["held"] = h.Local.String()
	ev["family"] = h.Family()
	set := func(key, value string) {
		if value != "" {
			ev[key] = value
		}
	}
	set("owner", h.User)
	if h.Process.PID > 0 {
		ev["pid"] = h.Process.PID
		set("program", h.Process.Program)
		set("path", h.Process.Path)
		set("service", h.Process.Unit)
	}
	set("greeting", e.Greeting)
	product, known := h.Product()
	if !known {
		product, known = port.ShieldByWords(e.Greeting)
	}
	id := "port.in_use"
	if known {
		ev["product"], ev["kind"] = product.Name, product.Kind
		if product.Kind == port.MailShield {
			id = "port.av_proxy"
		}
	}
	set("data_dir", e.DataDir)
	return diag.New(id, subject, ev).With("stop", stopCommand(h, product, e.Addr))
}

// stopCommand frees the port, or shows what must be changed to free it.
func stopCommand(h port.Holder, product port.Product, addr string) string {
	_, number, _ := net.SplitHostPort(addr)
	switch {
	case product.Name == "Docker published port":
		return "docker ps --filter publish=" + number
	case product.Name == "Podman published port":
		return "podman ps --filter publish=" + number
	case product.Kind == port.Activator && h.Process.Program == "systemd":
		return "systemctl list-sockets"
	case h.Process.PID == 0 && runtime.GOOS == "windows":
		return "netstat -abno"
	case h.Process.PID == 0:
		return "sudo ss -ltnp 'sport = :" + number + "'"
	case h.Process.Unit != "" && runtime.GOOS == "windows":
		return "net stop " + strings.Fields(h.Process.Unit)[0]
	case h.Process.Unit != "":
		return "sudo systemctl stop " + h.Process.Unit
	case h.Process.PID <= 4:
		return ""
	case runtime.GOOS == "windows":
		return "taskkill /PID " + strconv.Itoa(h.Process.PID)
	}
	return "kill " + strconv.Itoa(h.Process.PID)
}

// otherAddress is where the service could listen instead: a port that needs no
// rights and that other mail programs leave alone.
func otherAddress(addr string) string {
	ip, number, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	known := map[string]string{"25": "2525", "110": "1110", "143": "1143", "587": "5587", "465": "4465", "993": "9993", "995": "9995"}
	other, ok := known[number]
	if !ok {
		n, err := strconv.Atoi(number)
		if err != nil {
			return addr
		}
		other = strconv.Itoa(n%55000 + 10000)
	}
	return net.JoinHostPort(ip, other)
}

// shellWord quotes s for a POSIX shell where it needs it.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(plainInShell, r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

const plainInShell = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@%,"
