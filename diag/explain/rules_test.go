package explain

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
)

// Port, TLS, socket error and server together say more than each alone.
func TestCombinations(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string // the first causes, in order
		verify   []string
	}{
		{"refused by a server", "Server: 'pop.example.com', Protocol: POP3, Port: 110, Secure(SSL): No, Socket Error: 10061, Error Number: 0x800CCC0E",
			[]string{"connect-refused"}, []string{"probe", "pop3", "pop.example.com:110"}},
		{"refused by one's own machine", "Server: '127.0.0.1', Protocol: POP3, Port: 110, Secure(SSL): No, Socket Error: 10061, Error Number: 0x800CCC0E",
			[]string{"antivirus-proxy", "connect-refused"}, []string{"probe", "pop3", "127.0.0.1:110"}},
		{"localhost is one's own machine", "Server: 'localhost', Protocol: SMTP, Port: 25, Socket Error: 10061, Error Number: 0x800CCC0E",
			[]string{"antivirus-proxy", "connect-refused"}, []string{"probe", "smtp", "localhost:25"}},
		{"no answer on 25", "Server: 'smtp.example.com', Protocol: SMTP, Port: 25, Secure(SSL): No, Socket Error: 10060, Error Number: 0x800CCC0E",
			[]string{"port25-blocked", "connect-timeout"}, []string{"probe", "smtp", "smtp.example.com:25"}},
		{"no answer on 587", "Server: 'smtp.example.com', Protocol: SMTP, Port: 587, Secure(SSL): Yes, Socket Error: 10060, Error Number: 0x800CCC0E",
			[]string{"connect-timeout"}, []string{"probe", "submission", "smtp.example.com:587"}},
		{"TLS off on 465", "Server: 'smtp.example.com', Protocol: SMTP, Port: 465, Secure(SSL): No, Error Number: 0x800CCC0F",
			[]string{"tls-mismatch", "connection-reset"}, []string{"probe", "submission", "smtp.example.com:465"}},
		{"TLS off on 995, cut off", "Server: 'pop.example.com', Protocol: POP3, Port: 995, Secure(SSL): No, Socket Error: 10054, Error Number: 0x800CCC0F",
			[]string{"tls-mismatch", "connection-reset"}, []string{"probe", "pop3", "pop.example.com:995"}},
		{"TLS off on 995, but refused", "Server: 'pop.example.com', Protocol: POP3, Port: 995, Secure(SSL): No, Socket Error: 10061, Error Number: 0x800CCC0E",
			[]string{"connect-refused", "tls-mismatch"}, []string{"probe", "pop3", "pop.example.com:995"}},
		{"TLS from the start on 110", "Server: 'pop.example.com', Protocol: POP3, Port: 110, Secure(SSL): Yes, Error Number: 0x800CCC1A",
			[]string{"tls-mismatch"}, []string{"probe", "pop3", "pop.example.com:110"}},
		{"TLS from the start on 587", "Server: 'smtp.example.com', Protocol: SMTP, Port: 587, Secure(SSL): Yes, Error Number: 0x800CCC0F",
			[]string{"tls-mismatch", "connection-reset"}, nil},
		{"TLS as it should be, handshake failed", "Server: 'pop.example.com', Protocol: POP3, Port: 995, Secure(SSL): Yes, Error Number: 0x800CCC1A",
			[]string{"tls-version", "tls-mismatch"}, nil},
		{"a server that answers has no TLS mismatch", "Server: 'smtp.example.com', Protocol: SMTP, Server Response: '535 5.7.8 authentication failed', Port: 587, Secure(SSL): Yes, Error Number: 0x800CCC60",
			[]string{"auth-failed"}, nil},
		{"a name not found stays that", "Server: 'smtp.exmaple.com', Protocol: SMTP, Port: 465, Secure(SSL): No, Socket Error: 11001, Error Number: 0x800CCC0D",
			[]string{"dns-failure"}, nil},
		{"forbidden by the firewall", "Server: 'smtp.example.com', Protocol: SMTP, Port: 587, Socket Error: 10013, Error Number: 0x800CCC15",
			[]string{"firewall-local"}, nil},
		{"forbidden to a server that starts", "Cannot start listener on port 25: WSAEACCES (10013)",
			[]string{"port-permission"}, []string{"doctor"}},
		{"relaying refused", "Protocol: SMTP, Server Response: '550 5.7.1 Relaying denied', Port: 25, Error Number: 0x800CCC79",
			[]string{"relay-denied", "auth-required", "pop-before-smtp"}, nil},
		{"the server's words before the status", "550 5.1.1 <ken@example.net>: Recipient address rejected: mailbox full",
			[]string{"mailbox-full", "user-unknown"}, []string(nil)},
		{"narrower than a failed login", "535 5.7.8 Authentication failed: account is locked",
			[]string{"account-blocked", "auth-failed"}, nil},
		{"narrower than a failed login: no TLS", "-ERR [AUTH] Plaintext login not allowed: use SSL/TLS on port 995.",
			[]string{"tls-required", "auth-failed"}, nil},
		{"narrower than relaying refused", "550 5.7.1 <b@example.net>... Relaying denied. Please check your mail first.",
			[]string{"pop-before-smtp", "relay-denied"}, nil},
		{"switched off, whatever the response code", "-ERR [SYS/PERM] Your account is not enabled for POP access. Please visit your settings page.",
			[]string{"account-blocked"}, nil},
		{"a mail shield that cannot reach the server", "-ERR AVG POP3 Proxy Server: Cannot connect to the mail server!",
			[]string{"antivirus-proxy"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Explain([]byte(tt.in), codes.English)
			var got []string
			for _, d := range r.Diagnosis {
				got = append(got, d.Cause)
			}
			if len(got) < len(tt.want) || !slices.Equal(got[:len(tt.want)], tt.want) {
				t.Errorf("causes %q, want first %q", got, tt.want)
			}
			if tt.verify != nil && (r.Diagnosis[0].Verify == nil || !slices.Equal(r.Diagnosis[0].Verify.Args, tt.verify)) {
				t.Errorf("verify %+v, want %q", r.Diagnosis[0].Verify, tt.verify)
			}
		})
	}
}

// The evidence quotes the text as it stands.
func TestEvidenceQuotes(t *testing.T) {
	r := Explain([]byte("サーバー : '127.0.0.1', プロトコル : POP3, ポート : 110, ソケット エラー : 10061, エラー番号 : 0x800CCC0E"), codes.Japanese)
	if diff := cmp.Diff([]string{"サーバー: 127.0.0.1", "ソケット エラー: 10061"}, r.Diagnosis[0].Evidence); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r = Explain([]byte("Error: 550 5.1.1 <ken@example.net>: User unknown"), codes.English)
	if diff := cmp.Diff([]string{"550 5.1.1 <ken@example.net>: User unknown"}, r.Diagnosis[0].Evidence); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Rules name causes of the list, and each can apply.
func TestCombinationsAreWhole(t *testing.T) {
	for _, r := range combinations {
		if r.name == "" || !slices.Contains(codes.CauseWords, r.cause) || r.confidence <= 0 || r.confidence >= 1 || len(r.needs) == 0 {
			t.Errorf("%+v", r)
		}
		if _, ok := r.apply(&facts{}); ok {
			t.Errorf("%q applies to nothing at all", r.name)
		}
	}
}

func TestDiagnosisIsWhole(t *testing.T) {
	for _, lang := range []codes.Lang{codes.English, codes.Japanese} {
		for _, d := range dialogs(t) {
			r := Explain([]byte(d.Text), lang)
			last := 2.0
			for _, x := range r.Diagnosis {
				if !slices.Contains(codes.CauseWords, x.Cause) || x.Title == "" || x.Who == "" || x.Confidence <= 0 || x.Confidence > 1 {
					t.Errorf("%s: %+v", d.ID, x)
				}
				if r.Input.Kind != KindLog && x.Confidence > last {
					t.Errorf("%s: %s is surer than the one before it", d.ID, x.Cause)
				}
				last = x.Confidence
				if x.Cause != "none" && (len(x.Fixes) == 0 || x.Cause != "unknown" && len(x.Evidence) == 0) {
					t.Errorf("%s: %s has no steps or no evidence", d.ID, x.Cause)
				}
				for _, e := range x.Evidence {
					if len(e) > maxEvidenceBytes {
						t.Errorf("%s: evidence of %d bytes", d.ID, len(e))
					}
				}
			}
		}
	}
}
