package explain

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// readTool reads the pasted output of ipconfig and netstat: what it says of
// name servers, gateways, listening ports. It returns nil for other texts.
func readTool(s string) map[string][]string {
	if got := readIpconfig(s); got != nil {
		return got
	}
	return readNetstat(s)
}

// ipconfigLabels are the rows of interest, in English, Japanese, German, French,
// Spanish, Italian, Portuguese and Chinese, without spaces and case.
var ipconfigLabels = map[string]string{
	"dnsservers": "dns", "dnsserver": "dns", "dnsサーバー": "dns", "dnsサーバ": "dns", "dns-server": "dns", "serveursdns": "dns",
	"servidoresdns": "dns", "serverdns": "dns", "servidoresdedns": "dns", "dns服务器": "dns", "dns伺服器": "dns",
	"defaultgateway": "gateway", "デフォルトゲートウェイ": "gateway", "standardgateway": "gateway", "passerellepardéfaut": "gateway",
	"puertadeenlacepredeterminada": "gateway", "gatewaypredefinito": "gateway", "gatewaypadrão": "gateway", "默认网关": "gateway", "預設閘道": "gateway",
	"ipaddress": "addresses", "ipv4address": "addresses", "ipv6address": "addresses", "ipアドレス": "addresses", "ipv4アドレス": "addresses", "ipv6アドレス": "addresses",
	"ipv4-adresse": "addresses", "ip-adresse": "addresses", "adresseipv4": "addresses", "adresseip": "addresses", "direcciónipv4": "addresses",
	"direcciónip": "addresses", "indirizzoipv4": "addresses", "indirizzoip": "addresses", "endereçoipv4": "addresses", "endereçoip": "addresses", "ipv4地址": "addresses", "ipv4位址": "addresses",
	"dhcpserver": "dhcp", "dhcpサーバー": "dhcp", "dhcpサーバ": "dhcp", "dhcp-server": "dhcp", "serveurdhcp": "dhcp", "servidordhcp": "dhcp", "serverdhcp": "dhcp", "dhcp服务器": "dhcp", "dhcp伺服器": "dhcp",
	"hostname": "host", "ホスト名": "host", "nomdel'hôte": "host", "nombredehost": "host", "nomehost": "host", "nomedohost": "host", "主机名": "host", "主機名稱": "host",
}

// readIpconfig reads "ipconfig /all": rows of label, dots and value, further
// values below the first.
func readIpconfig(s string) map[string][]string {
	got := map[string][]string{}
	rows, current := 0, ""
	for line := range strings.Lines(cut(s, maxDialog)) {
		line = strings.TrimSpace(line)
		label, value, ok := dottedRow(line)
		if ok {
			rows++
			current = ipconfigLabels[label]
		} else {
			value = line
		}
		if current == "" || value == "" {
			continue
		}
		if current == "host" {
			if ok {
				got[current] = append(got[current], firstField(value))
			}
			continue
		}
		addr, _, _ := strings.Cut(firstField(value), "(")
		if a, err := netip.ParseAddr(addr); err == nil {
			if t := a.WithZone("").String(); !slices.Contains(got[current], t) {
				got[current] = append(got[current], t)
			}
		} else if !ok {
			current = ""
		}
	}
	if rows < 4 || len(got) == 0 {
		return nil
	}
	return got
}

// dottedRow takes "DNS Servers . . . . : 192.0.2.53" apart.
func dottedRow(line string) (label, value string, ok bool) {
	i := strings.Index(line, ":")
	if i < 0 {
		return "", "", false
	}
	label, value = line[:i], strings.TrimSpace(line[i+1:])
	if !strings.Contains(label, " .") && !strings.Contains(label, ". ") {
		return "", "", false
	}
	label = strings.ToLower(strings.Map(func(r rune) rune {
		if r == ' ' || r == '.' {
			return -1
		}
		return r
	}, label))
	return label, value, true
}

func firstField(s string) string {
	s, _, _ = strings.Cut(s, " ")
	return s
}

// maxRows limits what is listed from a netstat paste.
const maxRows = 40

// readNetstat reads "netstat -ano" or "netstat -tlnp": who listens on a mail
// port, and how many connections wait to be forgotten (TIME_WAIT), which is how
// a leak of ports shows.
func readNetstat(s string) map[string][]string {
	got := map[string][]string{}
	rows, waiting := 0, map[string]int{}
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(strings.ToLower(f[0]), "tcp") {
			continue
		}
		state := ""
		for _, w := range f {
			switch w {
			case "LISTENING", "LISTEN", "ESTABLISHED", "TIME_WAIT", "CLOSE_WAIT", "SYN_SENT", "FIN_WAIT_1", "FIN_WAIT_2", "LAST_ACK":
				state = w
			}
		}
		if state == "" {
			continue
		}
		rows++
		addrs := f[1:]
		for len(addrs) > 0 && digitsAt(addrs[0], 0) == len(addrs[0]) {
			addrs = addrs[1:] // the queue lengths of Unix
		}
		if len(addrs) < 2 {
			continue
		}
		_, localPort := lastColon(addrs[0])
		switch {
		case strings.HasPrefix(state, "LISTEN") && protocolOfPort[localPort] != "" && len(got["listening"]) < maxRows:
			got["listening"] = append(got["listening"], strings.TrimSpace(addrs[0]+" "+holder(f)))
		case state == "TIME_WAIT", state == "SYN_SENT":
			waiting[state+" "+addrs[1]]++
			waiting[state]++
		}
	}
	if rows < 3 {
		return nil
	}
	for _, state := range []string{"TIME_WAIT", "SYN_SENT"} {
		if n := waiting[state]; n > 0 {
			peer, most := "", 0
			for k, n := range waiting {
				if p, ok := strings.CutPrefix(k, state+" "); ok && (n > most || n == most && p < peer) {
					peer, most = p, n
				}
			}
			got[strings.ToLower(state)] = []string{strconv.Itoa(n), peer}
		}
	}
	if len(got) == 0 {
		got["connections"] = []string{strconv.Itoa(rows)}
	}
	return got
}

// Connections that wait in such numbers are no longer usual: a mail scanner on
// this machine leaks them until no port is left, or nothing answers.
const (
	manyWaiting = 500
	manyUnheard = 3
)

// toolWords is what the counts of a netstat paste speak of.
func toolWords(tool map[string][]string) []word {
	found := func(cause, state string) []word {
		return []word{{cause: cause, words: tool[strings.ToLower(state)][0] + " " + state + ", most to " + tool[strings.ToLower(state)][1]}}
	}
	if w := tool["time_wait"]; len(w) == 2 {
		if n, _ := strconv.Atoi(w[0]); n >= manyWaiting && strings.HasPrefix(w[1], "127.") {
			return found("antivirus-proxy", "TIME_WAIT")
		}
	}
	if w := tool["syn_sent"]; len(w) == 2 {
		if n, _ := strconv.Atoi(w[0]); n >= manyUnheard && strings.HasSuffix(w[1], ":25") {
			return found("port25-blocked", "SYN_SENT")
		} else if n >= manyUnheard {
			return found("connect-timeout", "SYN_SENT")
		}
	}
	return nil
}

// holder is the pid or program in the last column.
func holder(f []string) string {
	last := f[len(f)-1]
	if last == "LISTENING" || last == "LISTEN" {
		return ""
	}
	if digitsAt(last, 0) == len(last) {
		return "pid " + last
	}
	return last
}

func lastColon(s string) (host string, port int) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		i = strings.LastIndexByte(s, '.')
	}
	if i < 0 {
		return s, 0
	}
	return s[:i], portNumber(s[i+1:])
}
