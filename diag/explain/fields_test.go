package explain

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadFields(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []field
	}{
		{
			"Outlook Express", "Account: 'mail.example.com', Server: 'smtp.example.com', Protocol: SMTP, Port: 25, Secure(SSL): No, Socket Error: 10060",
			[]field{{"account", "Account", "mail.example.com", false}, {"server", "Server", "smtp.example.com", false}, {"protocol", "Protocol", "SMTP", false},
				{"port", "Port", "25", false}, {"tls", "Secure(SSL", "No", false}, {"socket_error", "Socket Error", "10060", false}},
		},
		{
			"doubled punctuation", "アカウント ::'x',セキュリティ ((SSL):なし,ポート ::110",
			[]field{{"account", "アカウント", "x", false}, {"tls", "セキュリティ ((SSL", "なし", false}, {"port", "ポート", "110", false}},
		},
		{
			"one a line", "Server Error: 3219\nServer: 'http://example.com/x'\nWindows Live Mail Error ID: 0x8DE00005",
			[]field{{"server_error", "Server Error", "3219", false}, {"server", "Server", "http://example.com/x", false}, {"error_number", "Windows Live Mail Error ID", "0x8DE00005", false}},
		},
		{
			"apostrophes in a reply", "Server Response: '-ERR Can't open the message file - it's gone!', Port: 110",
			[]field{{"response", "Server Response", "-ERR Can't open the message file - it's gone!", false}, {"port", "Port", "110", false}},
		},
		{
			"labels within a value do not count", "Subject 'Server: down, Port: 1', Account: 'x'",
			[]field{{"subject", "Subject", "Server: down, Port: 1", true}, {"account", "Account", "x", false}},
		},
		{
			"a particle for a colon", clean("拒否された電子メール アドレスは 'ken@example.net' です。"),
			[]field{{"recipient", "拒否された電子メール アドレス", "ken@example.net", true}},
		},
		{
			"empty values", "Server Response: '', Account: , Port: 0",
			[]field{{"port", "Port", "0", false}},
		},
		{"prose", "the host's server is down; a port of call", nil},
		{"part of a word", "mailserverport: 5, supports: yes", nil},
		{
			"a label broken by a line end", "ソケット エ\nラー : 12007, エラー番号 : 0x800CCC0D",
			[]field{{"socket_error", "ソケット エ ラー", "12007", false}, {"error_number", "エラー番号", "0x800CCC0D", false}},
		},
		{
			"a code broken by a line end", "Error Number: 0x800C\nCC0E",
			[]field{{"error_number", "Error Number", "0x800CCC0E", false}},
		},
		{
			"a reply of several lines", "Server: 'x'\nThe server responded: 550 5.7.1 no\npermission to send\n\nWhat now?",
			[]field{{"server", "Server", "x", false}, {"response", "server responded", "550 5.7.1 no permission to send", false}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, readFields(tt.in), cmp.AllowUnexported(field{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// One dialog in eight languages states the same facts.
func TestDialogLanguages(t *testing.T) {
	off := false
	want := Context{Account: "Example", Server: "pop.example.com", Protocol: "POP3", Port: 110, TLS: &off, SocketError: 10061, ErrorNumber: "0x800CCC0E",
		ServerResponse: "-ERR locked", ServerError: "0x800CCC90"}
	for lang, text := range map[string]string{
		"en": "Account: 'Example', Server: 'pop.example.com', Protocol: POP3, Server Response: '-ERR locked', Port: 110, Secure(SSL): No, Server Error: 0x800CCC90, Socket Error: 10061, Error Number: 0x800CCC0E",
		"ja": "アカウント : 'Example', サーバー : 'pop.example.com', プロトコル : POP3, サーバーの応答 : '-ERR locked', ポート : 110, セキュリティ (SSL) : なし, サーバー エラー : 0x800CCC90, ソケット エラー : 10061, エラー番号 : 0x800CCC0E",
		"de": "Konto: 'Example', Server: 'pop.example.com', Protokoll: POP3, Serverantwort: '-ERR locked', Port: 110, Sicherheit (SSL): Nein, Serverfehler: 0x800CCC90, Socketfehler: 10061, Fehlernummer: 0x800CCC0E",
		"fr": "Compte : « Example », Serveur : « pop.example.com », Protocole : POP3, Réponse du serveur : « -ERR locked », Port : 110, Sécurisé (SSL) : Non, Erreur de serveur : 0x800CCC90, Erreur de socket : 10061, Numéro d’erreur : 0x800CCC0E",
		"es": "Cuenta: 'Example', Servidor: 'pop.example.com', Protocolo: POP3, Respuesta del servidor: '-ERR locked', Puerto: 110, Seguridad (SSL): No, Error del servidor: 0x800CCC90, Error de socket: 10061, Número de error: 0x800CCC0E",
		"it": "Account: 'Example', Server: 'pop.example.com', Protocollo: POP3, Risposta del server: '-ERR locked', Porta: 110, Protezione (SSL): No, Errore del server: 0x800CCC90, Errore socket: 10061, Numero di errore: 0x800CCC0E",
		"pt": "Conta: 'Example', Servidor: 'pop.example.com', Protocolo: POP3, Resposta do servidor: '-ERR locked', Porta: 110, Seguro (SSL): Não, Erro do servidor: 0x800CCC90, Erro de soquete: 10061, Número do erro: 0x800CCC0E",
		"zh": "帐户：“Example”，服务器：“pop.example.com”，协议：POP3，服务器响应：“-ERR locked”，端口：110，安全(SSL)：否，服务器错误：0x800CCC90，套接字错误：10061，错误号：0x800CCC0E",
		"tw": "帳戶：「Example」，伺服器：「pop.example.com」，通訊協定：POP3，伺服器回應：「-ERR locked」，連接埠：110，安全 (SSL)：否，伺服器錯誤：0x800CCC90，通訊端錯誤：10061，錯誤碼：0x800CCC0E",
	} {
		t.Run(lang, func(t *testing.T) {
			r := Explain([]byte(text), "en")
			if r.Context == nil {
				t.Fatal("no context")
			}
			if diff := cmp.Diff(want, *r.Context); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestYesNo(t *testing.T) {
	for _, w := range []string{"Yes", "はい", "有効", "Ja", "Oui", "Sí", "Sì", "Sim", "是", "1", "SSL/TLS", "STARTTLS"} {
		if on, ok := yesNo(w); !on || !ok {
			t.Errorf("%q: %v %v", w, on, ok)
		}
	}
	for _, w := range []string{"No", "なし", "いいえ", "Nein", "Non", "Não", "否", "無", "0", "None"} {
		if on, ok := yesNo(w); on || !ok {
			t.Errorf("%q: %v %v", w, on, ok)
		}
	}
	if _, ok := yesNo("perhaps"); ok {
		t.Error("perhaps is an answer")
	}
}

func TestAddressIn(t *testing.T) {
	for in, want := range map[string]string{
		"<ken@example.net>... Relaying denied": "ken@example.net",
		"'ken@example.net'":                    "ken@example.net",
		"to a+b.c@mx-1.example.net.":           "a+b.c@mx-1.example.net",
		"no address @ all":                     "",
		"@example.net":                         "",
		"":                                     "",
	} {
		if got := addressIn(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
