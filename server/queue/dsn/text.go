package dsn

import (
	_ "embed" // the templates
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"text/template"
	"time"

	"mailsrv/codes"
)

// The words of notices. Text between {{ and }} is filled in.
var (
	//go:embed text_en.tmpl
	textEn string
	//go:embed text_ja.tmpl
	textJa string
)

var templates = sync.OnceValue(func() map[codes.Lang]*template.Template {
	out := map[codes.Lang]*template.Template{}
	for lang, text := range map[codes.Lang]string{codes.English: textEn, codes.Japanese: textJa} {
		t := template.New(string(lang)).Funcs(template.FuncMap{"wrap": wrap, "bullet": bullet, "date": func(t time.Time) string { return t.Format("2006-01-02 15:04 -0700") }})
		out[lang] = template.Must(t.Parse(text))
	}
	return out
})

// Bounds of the part for people; the part for programs names all recipients.
const (
	maxGroups    = 20
	maxAddresses = 20
)

// words is what a template is given.
type words struct {
	*Report
	Subject string
	Sent    string
	Double  bool // for a postmaster
	Groups  []*fate
	More    int // groups left out
}

// fate is what recipients with one and the same fate have in common.
type fate struct {
	Addresses []string
	More      int // addresses left out
	Expired   bool
	Title     string // the cause in a few words; empty for success
	Why       string
	Said      string // the host whose reply it was; empty when there was none
	Command   string
	Reply     string
	Fixes     []string
	Admin     bool // nothing that the sender can mend
	NullMX    bool // the domain takes no mail
}

func (r *Report) text(o *original) (string, error) {
	v := &words{Report: r, Subject: o.subject, Sent: o.sent, Double: r.Sender != r.To}
	known := map[string]*fate{}
	for i := range r.Recipients {
		to := &r.Recipients[i]
		key := fmt.Sprint(to.Cause, to.Host, to.Reply, to.Expired)
		g := known[key]
		switch {
		case g == nil && len(known) >= maxGroups:
			v.More++
			continue
		case g == nil:
			g = to.words(r)
			known[key] = g
			v.Groups = append(v.Groups, g)
		}
		if len(g.Addresses) < maxAddresses {
			g.Addresses = append(g.Addresses, to.Address)
		} else {
			g.More++
		}
	}
	var b strings.Builder
	lang := codes.English
	if r.Lang == codes.Japanese {
		lang = codes.Japanese
	}
	if err := templates()[lang].ExecuteTemplate(&b, string(r.Action), v); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()) + "\n", nil
}

func (to *Recipient) words(r *Report) *fate {
	g := &fate{Expired: to.Expired, Reply: to.Reply}
	if to.Code > 0 {
		g.Said, g.Command = to.host(), commands[to.Command]
	}
	if to.Code == 0 && to.Status == "5.1.10" {
		g.NullMX = true
	} else if c := codes.CauseOf(to.Cause); c != nil && to.Cause != "unknown" {
		t := c.Text(r.Lang)
		g.Title, g.Why = t.Title, t.Why
		switch {
		case r.Sender != r.To: // the reader has not sent it
		case c.Who == codes.YourServer || c.Who == codes.YourProvider:
			g.Admin = true
		default:
			g.Fixes = t.Fixes[:min(len(t.Fixes), 3)]
		}
	}
	return g
}

// commands are what people who know SMTP call the steps.
var commands = map[string]string{"CONN": "connection", "EHLO": "EHLO", "STARTTLS": "STARTTLS", "AUTH": "AUTH", "MAIL": "MAIL FROM", "RCPT": "RCPT TO", "DATA": "DATA"}

func (to *Recipient) host() string {
	if to.Addr == (netip.AddrPort{}) {
		return to.Host
	}
	return to.Host + " [" + to.Addr.Addr().String() + "]"
}

// name is the sender's name as it is shown.
func (r *Report) name() string {
	if r.Lang == codes.Japanese {
		return encodeWords("メール配信システム")
	}
	return "Mail Delivery System"
}

func (r *Report) subject(o *original) string {
	var s string
	switch {
	case r.Action == Failed:
		s = r.Lang.Pick("Undelivered mail", "メールを配信できませんでした")
	case r.Action == Delayed:
		s = r.Lang.Pick("Delayed mail, still being tried", "メールの配信が遅れています")
	default:
		s = r.Lang.Pick("Mail delivered", "メールを配信しました")
	}
	if o.subject != "" {
		s += ": " + o.subject
	}
	return s
}
