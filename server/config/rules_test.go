package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const allRules = `
[relay]
backup_mx = ["example.net", ".example.org"]
pop_before_smtp = "10m"
[[relay.client]]
networks = ["192.0.2.0/24"]
senders = ["shop.example", "<>"]
[[auth.send_as]]
users = ["taro@example.com"]
senders = "info@example.net"
[[relay.route]]
senders = ["taro@example.com", "shop.example"]
smart_host = "Smtp.example.org:465"
username = "taro"
password = "s3cret"
[[relay.route]]
senders = ["<>"]
smart_host = ""
[checks]
helo_fqdn = "mark"
sender_dns = "reject"
[[rule]]
name = "spam"
action = "reject"
for = "strangers"
clients = ["203.0.113.0/24", "2001:db8::/32"]
helo = ["*.dyn.example.net"]
senders = ['/^[0-9]+@(aol|msn)\.example$/']
recipients = ["taro@"]
headers = ["Subject: *lottery*", "X-Mailer: /bulk/"]
reply = "553 5.7.1 No"
[[rule]]
action = "mark"
senders = ["*"]
[[dnsbl]]
zone = "BL.example"
[[dnsbl]]
zone = "two.example"
codes = ["127.0.0.4-127.0.0.7", "127.0.0.10"]
action = "log"
reply = "Go away"
`

// What is shown is what was read, and reads as the same.
func TestRulesAreShown(t *testing.T) {
	c, ps := Parse("mailsrv.toml", []byte(good+allRules))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	shown := c.TOML()
	again, ps := Parse("mailsrv.toml", []byte(shown))
	if len(ps) > 0 {
		t.Fatalf("%v\n%s", ps, shown)
	}
	if diff := cmp.Diff(shown, again.TOML()); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	for _, want := range []string{
		"backup_mx = [\"example.net\", \".example.org\"]\n",
		"pop_before_smtp = \"10m\"\n",
		"[[relay.client]]\nnetworks = [\"192.0.2.0/24\"]\nsenders = [\"shop.example\", \"<>\"]\n",
		"[[auth.send_as]]\nusers = [\"taro@example.com\"]\nsenders = [\"info@example.net\"]\n",
		"[[relay.route]]\nsenders = [\"taro@example.com\", \"shop.example\"]\nsmart_host = \"smtp.example.org:465\"\nusername = \"taro\"\npassword = \"(not shown)\"\n",
		"[[relay.route]]\nsenders = [\"<>\"]\nsmart_host = \"\"\n",
		"helo_fqdn = \"mark\"\n",
		"[[rule]]\nname = \"spam\"\naction = \"reject\"\nfor = \"strangers\"\nclients = [\"203.0.113.0/24\", \"2001:db8::/32\"]\nhelo = [\"*.dyn.example.net\"]\n" +
			"senders = ['/^[0-9]+@(aol|msn)\\.example$/']\nrecipients = [\"taro@\"]\nheaders = [\"Subject: *lottery*\", \"X-Mailer: /bulk/\"]\nreply = \"553 5.7.1 No\"\n",
		"[[rule]]\nname = \"rule-2\"\naction = \"mark\"\nfor = \"all\"\nsenders = [\"*\"]\n",
		"[[dnsbl]]\nzone = \"two.example\"\ncodes = [\"127.0.0.4/30\", \"127.0.0.10/32\"]\naction = \"log\"\nreply = \"550 5.7.1 Go away\"\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no\n%sin\n%s", want, shown)
		}
	}
}

func TestRuleMistakes(t *testing.T) {
	const someHost = "[relay]\nsmart_host = \"smtp.example.net:587\"\n"
	for name, tt := range map[string]struct{ text, want string }{
		"no senders":         {someHost + "[[relay.route]]\nusername = \"a\"\npassword = \"b\"\n", `mailsrv.toml:7: relay.route: needs senders, such as senders = ["taro@example.com"]`},
		"no way":             {"[[relay.route]]\nsenders = [\"a@example.com\"]\n", `mailsrv.toml:5: relay.route: needs smart_host, because [relay] has none`},
		"no port":            {"[[relay.route]]\nsenders = [\"a@example.com\"]\nsmart_host = \"smtp.example.net\"\n", `mailsrv.toml:7:14: relay.route[].smart_host = "smtp.example.net": must be "HOST:PORT"`},
		"login at the MX":    {"[[relay.route]]\nsenders = \"a@example.com\"\nsmart_host = \"\"\nusername = \"a\"\npassword = \"b\"\n", "mailsrv.toml:5: relay.route: logs in nowhere"},
		"no password":        {someHost + "[[relay.route]]\nsenders = \"a@example.com\"\nusername = \"a\"\n", "needs password or password_file"},
		"no username":        {someHost + "[[relay.route]]\nsenders = \"a@example.com\"\npassword = \"a\"\n", "needs username beside it"},
		"two passwords":      {someHost + "[[relay.route]]\nsenders = \"a@example.com\"\nusername = \"a\"\npassword = \"a\"\npassword_file = \"a\"\n", "leave one of them out"},
		"route in brackets":  {"[relay.route]\nsenders = [\"a@example.com\"]\n", "stands in double brackets: [[relay.route]]"},
		"wrong sender":       {someHost + "[[relay.route]]\nsenders = [\"@example.com\"]\n", `did you mean: "example.com"`},
		"forgeable":          {"[relay]\nallow_from = [\"example.com\"]\n", `mailsrv.toml:6:1: relay.allow_from = ["example.com"]: is not offered: anybody can write any sender`},
		"roaming users":      {"[relay]\nroam_users = \"taro@example.com\"\n", "anybody can write any sender"},
		"automatic backup":   {"[relay]\nbackup_mx = true\n", "lists the domains"},
		"automatic backup 2": {"[relay]\nbackup_mx = \"auto\"\n", "lists the domains"},
		"no network":         {"[[relay.client]]\nsenders = [\"example.com\"]\n", "mailsrv.toml:5: relay.client: needs networks"},
		"every client":       {"[[relay.client]]\nnetworks = [\"::/0\"]\n", "makes an open relay"},
		"old wildcard":       {"[[relay.client]]\nnetworks = [\"192.168.1.*\"]\n", `did you mean: "192.168.1.0/24"`},
		"window":             {"[relay]\npop_before_smtp = \"2d\"\n", "must be from 0s to 1d"},
		"no users":           {"[[auth.send_as]]\nsenders = [\"*\"]\n", "needs users (who may) and senders"},
		"single brackets":    {"[rule]\naction = \"reject\"\n", "stands in double brackets: [[rule]]"},
		"no action":          {"[[rule]]\nsenders = [\"x.example\"]\n", "mailsrv.toml:5: rule: needs an action"},
		"no condition":       {"[[rule]]\naction = \"reject\"\n", "has no condition and would hold for all mail"},
		"discard":            {"[[rule]]\naction = \"discard\"\nsenders = [\"*\"]\n", `mail is never thrown away without anybody knowing; did you mean: "reject"`},
		"old action":         {"[checks]\nhelo_fqdn = \"yes\"\n", `must be one of "reject", "mark", "log", "off"; did you mean: "reject"`},
		"old action 2":       {"[checks]\nhelo_fqdn = false\n", `did you mean: "off"`},
		"unknown check":      {"[checks]\nhelo_fdqn = \"log\"\n", "did you mean: checks.helo_fqdn"},
		"two of one name":    {"[[rule]]\nname=\"a\"\naction=\"log\"\nsenders=\"*\"\n[[rule]]\nname=\"a\"\naction=\"log\"\nsenders=\"*\"\n", `mailsrv.toml:9: rule: has the name "a" of the rule in line 5`},
		"name":               {"[[rule]]\nname = \"a b\"\naction = \"log\"\nsenders = \"*\"\n", "is a word of letters"},
		"pattern":            {"[[rule]]\naction = \"log\"\nsenders = [\"@example.com\"]\n", `did you mean: "example.com"`},
		"expression":         {"[[rule]]\naction = \"log\"\nsenders = [\"/a(/\"]\n", "missing closing )"},
		"header":             {"[[rule]]\naction = \"log\"\nheaders = [\"lottery\"]\n", `must be "Field: text"`},
		"header is too late": {"[[rule]]\naction = \"unknown\"\nrecipients = [\"a@example.com\"]\nheaders = [\"To: x\"]\n", "too late"},
		"unknown nobody":     {"[[rule]]\naction = \"unknown\"\nsenders = [\"a@example.com\"]\n", "needs recipients"},
		"reply of a mark":    {"[[rule]]\naction = \"mark\"\nsenders = \"*\"\nreply = \"No\"\n", `only action = "reject"`},
		"no refusal":         {"[[rule]]\naction = \"reject\"\nsenders = \"*\"\nreply = \"250 Ok\"\n", "250 is no refusal"},
		"contradiction":      {"[[rule]]\naction = \"reject\"\nsenders = \"*\"\nreply = \"450 5.7.1 x\"\n", "450 and 5.7.1 contradict each other"},
		"Japanese reply":     {"[[rule]]\naction = \"reject\"\nsenders = \"*\"\nreply = \"拒否\"\n", "'拒' is not allowed in it"},
		"reply of codes":     {"[[rule]]\naction = \"reject\"\nsenders = \"*\"\nreply = \"550 5.7.1\"\n", "the text is missing"},
		"no zone":            {"[[dnsbl]]\naction = \"mark\"\n", "needs a zone"},
		"dead list":          {"[[dnsbl]]\nzone = \"relays.orbs.org\"\n", "is a list that is no more"},
		"dead list 2":        {"[[dnsbl]]\nzone = \"blackholes.mail-abuse.org\"\n", "is a list that is no more"},
		"zone":               {"[[dnsbl]]\nzone = \"https://x.example\"\n", "must be the zone of a list"},
		"zone twice":         {"[[dnsbl]]\nzone = \"a.example\"\n[[dnsbl]]\nzone = \"A.example\"\n", "mailsrv.toml:7: dnsbl: names the zone of line 5 again"},
		"code":               {"[[dnsbl]]\nzone = \"a.example\"\ncodes = [\"192.0.2.1\"]\n", "must be answers of the list"},
		"every code":         {"[[dnsbl]]\nzone = \"a.example\"\ncodes = [\"127.0.0.0/8\"]\n", "127.255.255.x is no listing"},
	} {
		_, ps := Parse("mailsrv.toml", []byte(good+tt.text))
		if len(ps) != 1 || !strings.Contains(ps[0].Error(), tt.want) {
			t.Errorf("%s: %v\nwant %q", name, ps, tt.want)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	for _, s := range []string{"550 5.7.1 No", "No", "450 Come again", "250 Ok", "550 5.7.1", "5505.7.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReply(s)
		if err != nil {
			return
		}
		if r.Code < 400 || r.Code > 599 || r.Text == "" || strings.ContainsAny(r.String(), "\r\n") {
			t.Fatalf("%q: %+v", s, r)
		}
		if again, err := ParseReply(r.String()); err != nil || again != r {
			t.Errorf("%q: %+v, then %+v, %v", s, r, again, err)
		}
	})
}
