package port

import (
	"path"
	"strings"
)

// What a product is, for the one who has to decide what to do about it.
const (
	MailServer = "mail-server"
	MailShield = "mail-shield" // antivirus that reads mail on its way
	Activator  = "activator"   // holds the port for another program
	Forwarder  = "forwarder"   // passes connections into a container, a virtual machine, a tunnel
	WebServer  = "web-server"
)

// Product is a program that is known to sit on mail ports.
type Product struct {
	Name string
	Kind string
}

// products by program name in lower case without .exe. Postfix calls its
// listener "master", which others do, too: it is told by its path.
var products = map[string]Product{
	"mailsrv":  {"mailsrv", MailServer},
	"postfix":  {"Postfix", MailServer},
	"exim":     {"Exim", MailServer},
	"exim4":    {"Exim", MailServer},
	"dovecot":  {"Dovecot", MailServer},
	"sendmail": {"sendmail", MailServer}, "sendmail-mta": {"sendmail", MailServer},
	"opensmtpd": {"OpenSMTPD", MailServer}, "smtpd": {"OpenSMTPD", MailServer},
	"qpopper": {"Qpopper", MailServer}, "popper": {"Qpopper", MailServer}, "in.qpopper": {"Qpopper", MailServer},
	"couriertcpd": {"Courier", MailServer}, "cyrmaster": {"Cyrus", MailServer},
	"inetinfo":               {"IIS SMTP", MailServer},
	"edgetransport":          {"Exchange transport", MailServer},
	"msexchangefrontendtran": {"Exchange transport", MailServer}, "msexchangefrontendtransport": {"Exchange transport", MailServer},
	"msexchangetransport": {"Exchange transport", MailServer},
	"hmailserver":         {"hMailServer", MailServer},
	"mercury":             {"Mercury/32", MailServer},
	"argomail":            {"ArGoSoft Mail Server", MailServer}, "mailserver": {"ArGoSoft Mail Server", MailServer},
	"maddy": {"maddy", MailServer}, "stalwart": {"Stalwart", MailServer}, "stalwart-mail": {"Stalwart", MailServer},
	"chasquid": {"chasquid", MailServer}, "mox": {"mox", MailServer}, "mailpit": {"Mailpit", MailServer}, "mailhog": {"MailHog", MailServer},

	"avastsvc": {"Avast Mail Shield", MailShield}, "ashmaisv": {"Avast Mail Shield", MailShield}, "aswidsagent": {"Avast Mail Shield", MailShield},
	"avgsvc": {"AVG Email Shield", MailShield}, "avgemc": {"AVG Email Shield", MailShield}, "avgmfapx": {"AVG Email Shield", MailShield},
	"ccsvchst": {"Norton email protection", MailShield}, "ccapp": {"Norton email protection", MailShield}, "ccproxy": {"Norton email protection", MailShield},
	"norton": {"Norton email protection", MailShield}, "nortonsvc": {"Norton email protection", MailShield},
	"ekrn": {"ESET email protection", MailShield},
	"avp":  {"Kaspersky Mail Anti-Virus", MailShield}, "klnagent": {"Kaspersky Mail Anti-Virus", MailShield},
	"bdagent": {"Bitdefender email protection", MailShield}, "vsserv": {"Bitdefender email protection", MailShield},
	"mcshield": {"McAfee email protection", MailShield}, "mcods": {"McAfee email protection", MailShield},
	"tmproxy": {"Trend Micro mail scan", MailShield}, "pccntmon": {"Trend Micro mail scan", MailShield}, "coreserviceshell": {"Trend Micro mail scan", MailShield},
	"avmailc": {"Avira mail protection", MailShield}, "avira.servicehost": {"Avira mail protection", MailShield},
	"fshoster32": {"F-Secure mail scan", MailShield}, "p3scan": {"P3Scan", MailShield},

	"systemd": {"systemd socket unit", Activator}, "launchd": {"launchd", Activator},
	"inetd": {"inetd", Activator}, "xinetd": {"xinetd", Activator},
	"docker-proxy": {"Docker published port", Forwarder}, "com.docker.backend": {"Docker published port", Forwarder},
	"rootlessport": {"Podman published port", Forwarder}, "conmon": {"Podman published port", Forwarder}, "pasta": {"Podman published port", Forwarder},
	"wslrelay": {"WSL", Forwarder}, "wslhost": {"WSL", Forwarder}, "ssh": {"SSH tunnel", Forwarder}, "plink": {"SSH tunnel", Forwarder},
	"stunnel": {"stunnel", Forwarder}, "stunnel4": {"stunnel", Forwarder}, "tstunnel": {"stunnel", Forwarder},
	"nginx": {"nginx", WebServer}, "apache2": {"Apache", WebServer}, "httpd": {"Apache", WebServer}, "caddy": {"Caddy", WebServer},
}

// Product names the product behind a process, by its program or path.
func (h Holder) Product() (Product, bool) {
	p := h.Process
	name := strings.TrimSuffix(strings.ToLower(p.Program), ".exe")
	if name == "master" {
		switch whole := strings.ToLower(p.Path + " " + p.Command + " " + p.Unit); {
		case strings.Contains(whole, "postfix"):
			return products["postfix"], true
		case strings.Contains(whole, "cyrus"):
			return products["cyrmaster"], true
		}
		return Product{}, false
	}
	if known, ok := products[name]; ok {
		return known, true
	}
	// "exim-4.98" and "dovecot-2.4" carry their versions.
	if base, _, ok := strings.Cut(name, "-"); ok {
		if known, found := products[base]; found && known.Kind == MailServer {
			return known, true
		}
	}
	if known, ok := products[path.Base(strings.TrimSuffix(p.Unit, ".service"))]; ok && known.Kind == MailServer {
		return known, true
	}
	return Product{}, false
}

// greetings tell mail shields and servers by the words they greet with, in
// lower case.
var greetings = []struct {
	words   string
	product Product
}{
	{"avast", Product{"Avast Mail Shield", MailShield}},
	{"avg", Product{"AVG Email Shield", MailShield}},
	{"norton", Product{"Norton email protection", MailShield}},
	{"symantec email proxy", Product{"Norton email protection", MailShield}},
	{"eset", Product{"ESET email protection", MailShield}},
	{"kaspersky", Product{"Kaspersky Mail Anti-Virus", MailShield}},
	{"bitdefender", Product{"Bitdefender email protection", MailShield}},
	{"mcafee", Product{"McAfee email protection", MailShield}},
	{"f-secure", Product{"F-Secure mail scan", MailShield}},
	{"trend micro", Product{"Trend Micro mail scan", MailShield}},
	{"mail shield", Product{"mail shield", MailShield}},
	{"email scanner", Product{"mail shield", MailShield}},
	{"antivirus pop3", Product{"mail shield", MailShield}},
	{"p3scan", Product{"P3Scan", MailShield}},
}

// ShieldByWords recognises an antivirus mail shield by the words of a greeting
// or the issuer of a certificate.
func ShieldByWords(text string) (Product, bool) {
	text = strings.ToLower(text)
	for _, g := range greetings {
		if containsWord(text, g.words) {
			return g.product, true
		}
	}
	return Product{}, false
}

// containsWord finds word in text, not as a part of a longer word: "reset" is
// not ESET.
func containsWord(text, word string) bool {
	letter := func(i int) bool { return 0 <= i && i < len(text) && 'a' <= text[i] && text[i] <= 'z' }
	for at := 0; ; at++ {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		if at += i; !letter(at-1) && !letter(at+len(word)) {
			return true
		}
	}
}
