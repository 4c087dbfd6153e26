package bounce

import "strings"

// maxDiagnostic bounds how much of a server's words is kept.
const maxDiagnostic = 2000

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// answer is an SMTP reply as it stands in text.
type answer struct {
	code, status string
	at           int // where the code begins
}

// findAnswer returns the reply that text quotes. A code with an enhanced
// status beside it is sure; one alone must stand where a reply begins. When
// the first reply only says that retrying has ended (x.4.7), the one behind it
// says why.
func findAnswer(text string) (answer, bool) {
	var best answer
	found := false
	for i := 0; i+3 <= len(text); i++ {
		code, end := replyAt(text, i)
		if code == "" {
			continue
		}
		st := statusBehind(text, end)
		if code[0] == '2' && (st == "" || st[0] != '2') && i > 0 { // "220-greeting 421 ..."
			continue
		}
		switch {
		case st != "" && (!found || best.status == "" || strings.HasSuffix(best.status, ".4.7")):
			if found && best.status == "" && best.code == code && best.at+5 >= i { // "550 550 5.1.1"
				best.status = st
				continue
			}
			if found && best.status == "" && best.code != code {
				continue // the first reply decides; a later one is the server's small talk
			}
			best, found = answer{code, st, i}, true
		case st == "" && !found && (startsReply(text, i) || strings.HasPrefix(text[end:], "-'")):
			best, found = answer{code, "", i}, true
		}
		i = end - 1
	}
	return best, found
}

// replyAt reads a reply code at i: three digits, the second 0 to 5 (RFC 5321
// section 4.2.1) or the 7 that filters write ("571"), no part of a longer number,
// name or address.
func replyAt(s string, i int) (code string, end int) {
	if i+3 > len(s) || (s[i] != '2' && s[i] != '4' && s[i] != '5') || s[i+1] < '0' || s[i+1] > '5' && (s[i+1] != '7' || s[i] == '2') || !digit(s[i+2]) {
		return "", 0
	}
	if i > 0 && (wordByte(s[i-1]) || s[i-1] == '.' || s[i-1] == '-' && i > 1 && wordByte(s[i-2]) || s[i-1] == '@' || s[i-1] == '/' || s[i-1] == '+' || s[i-1] == '=' || s[i-1] == '$') {
		return "", 0
	}
	if i+3 < len(s) && (wordByte(s[i+3]) || s[i+3] == '@' || s[i+3] == '/' || s[i+3] == '.' && i+4 < len(s) && digit(s[i+4])) {
		return "", 0
	}
	return s[i : i+3], i + 3
}

// startsReply tells whether the number at i stands where a quoted reply
// begins, and not in a sentence ("retried for 500 minutes").
func startsReply(s string, i int) bool {
	after := s[i+3:]
	if rest := strings.TrimLeft(after, " "); strings.HasPrefix(rest, "minutes") || strings.HasPrefix(rest, "hours") || strings.HasPrefix(rest, "seconds") || strings.HasPrefix(rest, "bytes") || strings.HasPrefix(rest, "MB") || strings.HasPrefix(rest, "KB") {
		return false
	}
	before := strings.TrimRight(s[:i], " \t\n")
	if before == "" {
		return s[i] != '2' || after != "" && after[0] == ' '
	}
	if c := before[len(before)-1]; strings.IndexByte(`:;,('">[-#<.`, c) >= 0 {
		return true
	}
	lower := strings.ToLower(before[max(0, len(before)-24):])
	for _, w := range []string{"said", "returned", "error", "code", "response", "reply", "replied", "was", "with", "status", "smtp", "message", "reason", "answer", "250-", "me"} {
		if strings.HasSuffix(lower, w) {
			return true
		}
	}
	return false
}

// statusBehind returns the enhanced status behind a reply code:
// "550 5.1.1", "550-'5.7.1", "550 #5.1.0", "550: 5.2.2", "ERROR_CODE :550, ERROR_CODE :5.1.1".
func statusBehind(s string, i int) string {
	j := i
	for j < len(s) && strings.IndexByte(" -:#'\"(,;[\n\t", s[j]) >= 0 {
		j++
	}
	if strings.HasPrefix(s[j:], "ERROR_CODE") {
		j += len("ERROR_CODE")
		for j < len(s) && strings.IndexByte(" :", s[j]) >= 0 {
			j++
		}
	}
	if n, ok := enhancedAt(s, j); ok {
		return s[j : j+n]
	}
	return ""
}

// enhancedAt reads an enhanced status code at i and returns its length: class
// 2, 4 or 5, a subject of 0 to 7, a detail of up to three digits (RFC 3463
// section 2).
func enhancedAt(s string, i int) (n int, ok bool) {
	if i+5 > len(s) || (s[i] != '2' && s[i] != '4' && s[i] != '5') || s[i+1] != '.' || s[i+2] < '0' || s[i+2] > '7' || s[i+3] != '.' {
		return 0, false
	}
	j := i + 3
	k := j + 1
	for k < len(s) && digit(s[k]) {
		k++
	}
	if k == j+1 || k > j+4 || k < len(s) && (s[k] == '.' && k+1 < len(s) && digit(s[k+1]) || wordByte(s[k])) {
		return 0, false
	}
	return k - i, true
}

// findStatus returns the first enhanced status code in text that is no part of
// a version or an IP address.
func findStatus(s string) string {
	for i := range len(s) {
		if i > 0 && (wordByte(s[i-1]) || s[i-1] == '.' || s[i-1] == '-' || s[i-1] == '/' || s[i-1] == '=') {
			continue
		}
		if n, ok := enhancedAt(s, i); ok {
			return s[i : i+n]
		}
	}
	return ""
}

// joinReply drops the codes that multi-line replies repeat in the middle of
// the text, so that words torn apart by them stand together again.
func joinReply(s string) string {
	a, ok := findAnswer(s)
	if !ok {
		return s
	}
	head := a.at + 3
	tail := s[head:]
	if a.status != "" {
		tail = strings.ReplaceAll(tail, " "+a.code+"-"+a.status, "")
		if i := strings.Index(tail, a.status); i >= 0 {
			i += len(a.status)
			tail = tail[:i] + strings.ReplaceAll(tail[i:], " "+a.code+" "+a.status, "")
		}
	}
	return s[:head] + strings.ReplaceAll(tail, " "+a.code+"-", " ")
}

func digit(c byte) bool    { return '0' <= c && c <= '9' }
func wordByte(c byte) bool { return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' }
