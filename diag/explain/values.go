package explain

import (
	"net/netip"
	"strconv"
	"strings"
)

// The readers of single values: a yes or no in eight languages, a number, a
// code, an address, a host.

var (
	yesWords = wordSet("1 yes ja oui sí si sì sim on true はい あり 有り 有効 有 是 enabled ssl tls ssl/tls tls/ssl starttls 使用 する オン ssl/tlsを使用")
	noWords  = wordSet("0 no nein non não nao off false none なし 無し 無 无 いいえ 否 無効 disabled keine aucun aucune ninguno ninguna nessuno nessuna nenhum nenhuma オフ しない 未使用 plain")
)

func yesNo(v string) (on, ok bool) {
	v = strings.ToLower(strings.Trim(v, " .,;'\"。、()"))
	word, _, _ := strings.Cut(v, " ")
	word = strings.TrimRight(word, ".,;)。、")
	if _, ok := yesWords[word]; ok {
		return true, true
	}
	_, no := noWords[word]
	return false, no
}

// leadingNumber reads the digits a value begins with; a letter O among them is
// a zero.
func leadingNumber(v string) int {
	n := 0
	for i := range len(v) {
		c := v[i]
		if (c == 'O' || c == 'o') && i > 0 {
			c = '0'
		}
		if !isDigit(c) || n > 1<<24 {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// firstCode reads the code a value begins with, in its canonical spelling.
func firstCode(v string) string {
	if code, n, _ := hexCode(v); n > 0 {
		return code
	}
	n := digitsAt(v, 0)
	if strings.HasPrefix(v, "-") {
		n = 1 + digitsAt(v, 1)
	}
	if code, ok := hresultOf(v[:n]); ok {
		return code
	}
	if n > 0 && n <= 5 && v[0] != '-' {
		return v[:n]
	}
	return ""
}

// addressIn returns the first mail address in s.
func addressIn(s string) string {
	at := strings.IndexByte(s, '@')
	for at > 0 {
		from, to := at, at+1
		for from > 0 && (isWord(s[from-1]) || strings.IndexByte(".+-=#$%&'*/?^`{|}~!", s[from-1]) >= 0) {
			from--
		}
		for to < len(s) && (isWord(s[to]) || s[to] == '.' || s[to] == '-') {
			to++
		}
		from += len(s[from:at]) - len(strings.TrimLeft(s[from:at], "'"))
		to = at + 1 + len(strings.TrimRight(s[at+1:to], ".-"))
		if from < at && to > at+1 {
			return s[from:to]
		}
		next := strings.IndexByte(s[at+1:], '@')
		if next < 0 {
			return ""
		}
		at += 1 + next
	}
	return ""
}

// isHost tells a host name with a dot, or an IP address.
func isHost(s string) bool {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.IsValid()
	}
	if strings.EqualFold(s, "localhost") {
		return true
	}
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(s) > 253 {
		return false
	}
	for _, p := range parts {
		if p == "" || len(p) > 63 || p[0] == '-' {
			return false
		}
	}
	tld := parts[len(parts)-1]
	return len(tld) >= 2 && isAlpha(tld[0]) && !isFileSuffix(tld) && !camelCase(tld)
}

// camelCase tells the names that programmers give: java.net.SocketException.
func camelCase(s string) bool {
	for i := 1; i < len(s); i++ {
		if 'a' <= s[i-1] && s[i-1] <= 'z' && 'A' <= s[i] && s[i] <= 'Z' {
			return true
		}
	}
	return false
}

func isFileSuffix(tld string) bool {
	switch strings.ToLower(tld) {
	case "exe", "dll", "txt", "log", "eml", "msg", "pst", "ost", "dbx", "go", "py", "php", "js", "html", "htm", "xml", "aspx", "asp", "cf", "conf", "cfg", "ini", "lock", "class", "java", "cpp":
		return true
	}
	return false
}

func splitHostPort(v string) (host string, port int) {
	host, p, ok := strings.Cut(v, ":")
	if !ok || !isHost(host) {
		return v, 0
	}
	return host, portNumber(p)
}

// portBehind reads ":993" behind a host name.
func portBehind(rest string) int {
	if !strings.HasPrefix(rest, ":") {
		return 0
	}
	n := digitsAt(rest, 1)
	return portNumber(rest[1 : 1+n])
}

func portNumber(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0
	}
	return n
}

// numberBehind reads the number that stands right behind one of the words:
// "port 25".
func numberBehind(s string, words []string) int {
	low := strings.ToLower(cut(s, maxDialog))
	for _, w := range words {
		for at := 0; ; {
			i := strings.Index(low[at:], w)
			if i < 0 {
				break
			}
			start := at + i
			at = start + len(w)
			if start > 0 && isWord(low[start-1]) {
				continue
			}
			rest := strings.TrimLeft(low[at:], " #\t:=は")
			if n := digitsAt(rest, 0); n > 0 && (n == len(rest) || !isWord(rest[n])) {
				if p := portNumber(rest[:n]); p > 0 {
					return p
				}
			}
		}
	}
	return 0
}
