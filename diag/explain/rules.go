package explain

import (
	"slices"
	"strconv"
	"strings"
)

// How surely each kind of evidence names the cause, best first. The distances
// are what counts: the server's own words come before a combination of port,
// TLS and socket error, that before the socket error alone, that before the
// mail program's code, and all of them before words that name no cause.
const (
	sureNotice       = 0.97 // the cause that mailsrv's own notice was written for: it has seen the error itself
	sureServerEntry  = 0.95 // words of the server that the catalogue knows
	sureServerWords  = 0.86 // words of the server
	sureStatus       = 0.80 // an enhanced status code that says one thing
	sureSocket       = 0.78 // a Winsock or Unix error
	sureReason       = 0.74 // the reason that package bounce found
	sureServerVague  = 0.70 // words of the server that servers use for many things
	sureSentence     = 0.66 // what the mail program says
	sureClientCode   = 0.60 // the mail program's code
	sureReply        = 0.50 // a reply code that says one thing
	sureServerHint   = 0.40 // a noun in the server's words that goes with a cause: "certificate"
	sureStatusVague  = 0.36
	sureReplyVague   = 0.32
	sureClientVague  = 0.25 // codes such as "the server answered with an error"
	sureHint         = 0.18 // such a noun elsewhere
	sureNothing      = 0.15 // "could not be sent"
	doubtful         = 0.40 // below, a cause is put to the reader as a possibility
	keepBeside       = 0.45 // causes that reach less than this part of the best are left out
	maxDiagnoses     = 4
	maxEvidence      = 6
	maxEvidenceBytes = 200
)

// combination is a rule over several facts together. It applies when all of its
// conditions hold; each contributes the words it rests on.
type combination struct {
	name       string
	cause      string
	confidence float64
	needs      []condition
}

// condition looks for one fact. evidence is what to quote for it; a condition
// that only excludes something quotes nothing.
type condition func(f *facts) (evidence string, ok bool)

// combinations, general before special.
var combinations = []combination{
	{"server refuses relaying, so a login may be missing", "auth-required", 0.50,
		[]condition{saysCause("relay-denied"), anyOf(protocol("SMTP"), hasCode("0x800CCC79"))}},
	{"old servers want a fetch before a send", "pop-before-smtp", 0.44,
		[]condition{saysCause("relay-denied"), port(25), anyOf(protocol("SMTP"), hasCode("0x800CCC79"))}},
	{"own machine ended the connection: scanners do that", "antivirus-proxy", 0.45,
		[]condition{anyOf(hasCode("0x800CCC0F"), hasCode("0x800CCC19"), hasCode("0x8004210A")), not(saysReply)}},
	{"refused by this machine's own rules", "firewall-local", 0.84,
		[]condition{socket(10013), not(starting)}},
	{"a program may not open its port", "port-permission", 0.88,
		[]condition{socket(10013), starting}},
	{"the network drops outgoing port 25", "port25-blocked", 0.84,
		[]condition{port(25), anyOf(protocol("SMTP"), noProtocol), socket(10060), notLocal, notLog, not(saysReply)}},
	{"the network drops outgoing port 25, said in words", "port25-blocked", 0.70,
		[]condition{port(25), protocol("SMTP"), anyOf(saysCause("connect-timeout"), hasCode("0x800CCC19"), hasCode("0x80042109"), hasCode("0x8004210B")), notLocal, not(saysReply)}},
	{"the network drops outgoing port 25, seen from a server", "port25-blocked", 0.55,
		[]condition{isLog, anyOf(port(25), remoteDelivery), anyOf(saysCause("connect-timeout"), socket(10060))}},
	{"TLS is off on a port that begins with TLS", "tls-mismatch", 0.87,
		[]condition{port(465, 993, 995), tls(false), not(saysReply), anyOf(noSocket, socket(10053, 10054))}},
	{"TLS is off on a port that begins with TLS, and the connection failed besides", "tls-mismatch", 0.50,
		[]condition{port(465, 993, 995), tls(false), not(saysReply), socket(10060, 10061)}},
	{"TLS from the start on a port that begins in the clear", "tls-mismatch", 0.87,
		[]condition{port(110, 143, 587), tls(true), not(saysReply), anyOf(noSocket, socket(10053, 10054)), notCauses("dns-failure", "offline-mode", "cancelled", "tls-cert")}},
	{"TLS on port 25", "tls-mismatch", 0.70,
		[]condition{port(25), tls(true), not(saysReply), anyOf(hasCode("0x800CCC1A"), hasCode("0x800CCC0F"), hasCode("0x800CCC19"), hasCode("0x800CCC0B"), socket(10053, 10054))}},
	{"port and TLS fit, but the handshake failed", "tls-version", 0.75,
		[]condition{hasCode("0x800CCC1A"), port(465, 993, 995), tls(true)}},
	{"the mail program wants TLS, and the server does not know the command", "tls-mismatch", 0.90,
		[]condition{hasCode("0x800CCC7D"), anyOf(hasCode("500"), hasCode("502"), hasCode("503"), hasCode("504"))}},
	{"access denied while a message is handed over to be sent", "sender-rejected", 0.64,
		[]condition{hasCode("0x80070005"), hasRecipient, not(saysReply)}},
	{"no such user or domain is said of the sender", "sender-rejected", 0.96,
		[]condition{anyOf(saysCause("user-unknown"), saysCause("dns-failure")), anyOf(hasCode("0x800CCC78"), hasCode("5.1.7"), hasCode("5.1.8"), hasCode("4.1.7"), hasCode("4.1.8"))}},
	{"a malformed address, and it is the sender's", "sender-rejected", 0.955,
		[]condition{saysCause("syntax-error"), hasCode("0x800CCC78")}},
	{"no such user is said of a login name", "auth-failed", 0.96,
		[]condition{saysCause("user-unknown"), anyOf(protocol("POP3"), protocol("IMAP"), popReply), notLog}},
	{"nobody listens where a mail scanner used to", "antivirus-proxy", 0.92,
		[]condition{local, anyOf(socket(10061, 10060, 10053, 10054), hasCode("0x800CCC0E"), hasCode("0x800CCC0F"), hasCode("0x800CCC19")), notLog}},
	{"a mail scanner put its own name into the account", "antivirus-proxy", 0.94,
		[]condition{scannerHost}},
	{"Hotmail over HTTP was switched off", "service-discontinued", 0.90,
		[]condition{anyOf(protocol("HTTPMail"), hotmailOverHTTP)}},
}

func anyOf(cs ...condition) condition {
	return func(f *facts) (string, bool) {
		for _, c := range cs {
			if e, ok := c(f); ok {
				return e, true
			}
		}
		return "", false
	}
}

func not(c condition) condition {
	return func(f *facts) (string, bool) {
		_, ok := c(f)
		return "", !ok
	}
}

func port(numbers ...int) condition {
	return func(f *facts) (string, bool) {
		return f.quote("port", "port "+strconv.Itoa(f.ctx.Port)), slices.Contains(numbers, f.ctx.Port)
	}
}

func tls(on bool) condition {
	return func(f *facts) (string, bool) {
		return f.quote("tls", "TLS: "+map[bool]string{true: "on", false: "off"}[on]), f.ctx.TLS != nil && *f.ctx.TLS == on
	}
}

func protocol(name string) condition {
	return func(f *facts) (string, bool) { return f.quote("protocol", name), f.ctx.Protocol == name }
}

func noProtocol(f *facts) (string, bool) { return "", f.ctx.Protocol == "" }

// socket holds for a Winsock number, also when it stands there as an errno, a
// name, or wrapped by Windows.
func socket(numbers ...int) condition {
	return func(f *facts) (string, bool) {
		for _, c := range f.codes {
			if n := c.winsock(); n != 0 && slices.Contains(numbers, n) {
				return f.quoteCode(c), true
			}
		}
		return "", false
	}
}

func noSocket(f *facts) (string, bool) {
	for _, c := range f.codes {
		if c.winsock() != 0 {
			return "", false
		}
	}
	return "", true
}

func hasCode(canon string) condition {
	return func(f *facts) (string, bool) {
		for _, c := range f.codes {
			if c.canon == canon {
				return f.quoteCode(c), true
			}
		}
		return "", false
	}
}

// saysCause holds when words, the server's or the mail program's, speak of it.
func saysCause(cause string) condition {
	return func(f *facts) (string, bool) {
		for _, w := range f.words {
			if w.cause == cause && !w.weak {
				return f.quoteWord(w), true
			}
		}
		return "", false
	}
}

func notCauses(causes ...string) condition {
	return func(f *facts) (string, bool) {
		for _, c := range causes {
			if _, ok := saysCause(c)(f); ok {
				return "", false
			}
		}
		return "", true
	}
}

// popReply holds for the refusal of a POP3 server, which knows no recipients.
func popReply(f *facts) (string, bool) { return "", strings.HasPrefix(f.reply, "-ERR") }

func hasRecipient(f *facts) (string, bool) { return f.ctx.Recipient, f.ctx.Recipient != "" }

func saysReply(f *facts) (string, bool) { return f.reply, f.reply != "" }

func isLog(f *facts) (string, bool)  { return "", f.event != nil }
func notLog(f *facts) (string, bool) { return "", f.event == nil }

// starting holds for a server that starts up rather than a client that connects.
func starting(f *facts) (string, bool) {
	low := strings.ToLower(f.text)
	for _, w := range []string{"listen", "bind", "start", "起動", "待ち受け"} {
		if strings.Contains(low, w) {
			return w, true
		}
	}
	return "", false
}

// remoteDelivery holds for a log line about handing mail to another host.
func remoteDelivery(f *facts) (string, bool) {
	return "", f.event != nil && (strings.Contains(f.event.line, "T=remote_smtp") || strings.HasSuffix(f.event.program, "/smtp"))
}

func local(f *facts) (string, bool) {
	h := strings.ToLower(f.ctx.Server)
	return f.quote("server", f.ctx.Server), h == "localhost" || strings.HasPrefix(h, "127.") || h == "::1" || h == "[::1]"
}

func notLocal(f *facts) (string, bool) {
	_, ok := local(f)
	return "", !ok
}

// scannerHost holds for the host names that mail scanners wrote into accounts.
func scannerHost(f *facts) (string, bool) {
	h := strings.ToLower(f.ctx.Server)
	for _, part := range []string{"norton.antivirus", "nortonpop", "nortonsmtp", "avast", "mcafee", "pccpop", "trendmicro"} {
		if strings.Contains(h, part) && strings.Count(h, ".") <= 2 {
			return f.quote("server", f.ctx.Server), true
		}
	}
	return "", false
}

func hotmailOverHTTP(f *facts) (string, bool) {
	h := strings.ToLower(f.ctx.Server)
	return f.quote("server", f.ctx.Server), strings.Contains(h, "services.msn.com") || strings.Contains(h, "mail.services.live.com")
}
