package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"mailsrv/server/account"
)

const password = "correct horse battery"

func directory(t testing.TB) *account.Files {
	t.Helper()
	d := account.Open(t.TempDir(), []string{"example.com"})
	if _, err := d.Add("taro", "example.com", password); err != nil {
		t.Fatal(err)
	}
	return d
}

// talk feeds messages and returns the challenges, and how it ended.
func talk(e Exchange, messages ...[]byte) (challenges []string, done bool, err error) {
	for _, m := range messages {
		var c []byte
		if c, done, err = e.Next(m); err != nil || done {
			return challenges, done, err
		}
		challenges = append(challenges, string(c))
	}
	return challenges, done, err
}

func TestPlainAndLogin(t *testing.T) {
	d := directory(t)
	b := func(s string) []byte { return []byte(s) }
	for _, tt := range []struct {
		mechanism string
		messages  [][]byte
		asked     string
		err       error
	}{
		{"PLAIN", [][]byte{b("\x00taro\x00" + password)}, "", nil},
		{"PLAIN", [][]byte{nil, b("\x00taro@example.com\x00" + password)}, "|", nil},
		{"PLAIN", [][]byte{b("taro@example.com\x00taro\x00" + password)}, "", nil},
		{"PLAIN", [][]byte{b("root\x00taro\x00" + password)}, "", account.ErrCredentials},
		{"PLAIN", [][]byte{b("\x00taro\x00wrong")}, "", account.ErrCredentials},
		{"PLAIN", [][]byte{b("\x00nobody\x00" + password)}, "", account.ErrCredentials},
		{"PLAIN", [][]byte{b("taro\x00" + password)}, "", ErrMalformed},
		{"PLAIN", [][]byte{b("\x00\x00")}, "", ErrMalformed},
		{"PLAIN", [][]byte{b("")}, "", ErrMalformed},
		{"PLAIN", [][]byte{b("\x00taro\x00a\x00b")}, "", ErrMalformed},
		{"LOGIN", [][]byte{nil, b("taro"), b(password)}, "Username:|Password:|", nil},
		{"LOGIN", [][]byte{b("taro"), b(password)}, "Password:|", nil},
		{"LOGIN", [][]byte{b("taro"), b("")}, "Password:|", account.ErrCredentials},
		{"LOGIN", [][]byte{nil, b("")}, "Username:|", ErrMalformed},
	} {
		e := New(tt.mechanism, d)
		challenges, done, err := talk(e, tt.messages...)
		if asked := strings.Join(challenges, "|"); err != tt.err || done != (tt.err == nil) || asked != strings.TrimSuffix(tt.asked, "|") {
			t.Errorf("%s %q: asked %q, done %v, %v; want %q, %v", tt.mechanism, tt.messages, asked, done, err, tt.asked, tt.err)
		}
		if _, a := e.Result(); (a.Address() == "taro@example.com") != (tt.err == nil) {
			t.Errorf("%s %q: account %+v", tt.mechanism, tt.messages, a)
		}
	}
	if e := New("CRAM-MD5", d); e != nil {
		t.Error("CRAM-MD5 is offered")
	}
}

// client is the other side of SCRAM, written from RFC 5802 alone.
type client struct{ user, password, header string }

func (c client) talk(e Exchange) error {
	bare := "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.user) + ",r=clientnonce"
	server1, _, err := e.Next([]byte(c.header + bare))
	if err != nil {
		return err
	}
	var nonce, salt64 string
	var iterations int
	for _, f := range strings.Split(string(server1), ",") {
		switch {
		case strings.HasPrefix(f, "r="):
			nonce = f[2:]
		case strings.HasPrefix(f, "s="):
			salt64 = f[2:]
		case strings.HasPrefix(f, "i="):
			fmt.Sscan(f[2:], &iterations)
		}
	}
	if !strings.HasPrefix(nonce, "clientnonce") || len(nonce) < 30 || iterations < 4096 {
		return fmt.Errorf("server first message %q", server1)
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil {
		return err
	}
	salted, err := pbkdf2.Key(sha256.New, c.password, salt, iterations, 32)
	if err != nil {
		return err
	}
	h := func(key []byte, s string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		return m.Sum(nil)
	}
	clientKey := h(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	final := "c=" + base64.StdEncoding.EncodeToString([]byte(c.header)) + ",r=" + nonce
	auth := bare + "," + string(server1) + "," + final
	proof := h(stored[:], auth)
	subtle.XORBytes(proof, proof, clientKey)
	server2, done, err := e.Next([]byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)))
	if err != nil || done {
		return err
	}
	if want := "v=" + base64.StdEncoding.EncodeToString(h(h(salted, "Server Key"), auth)); string(server2) != want {
		return fmt.Errorf("server signature %q, want %q", server2, want)
	}
	if _, done, err = e.Next([]byte{}); !done && err == nil {
		return fmt.Errorf("not done")
	}
	return err
}

func TestScram(t *testing.T) {
	d := directory(t)
	for _, tt := range []struct {
		client
		err error
	}{
		{client{"taro", password, "n,,"}, nil},
		{client{"taro@example.com", password, "y,,"}, nil},
		{client{"taro", password, "n,a=taro,"}, nil},
		{client{"taro", password, "n,a=root,"}, account.ErrCredentials},
		{client{"taro", "wrong", "n,,"}, account.ErrCredentials},
		{client{"nobody", password, "n,,"}, account.ErrCredentials},
		{client{"a,b=c", password, "n,,"}, account.ErrCredentials},
		{client{"taro", password, "p=tls-unique,,"}, ErrMalformed},
		{client{"", password, "n,,"}, ErrMalformed},
	} {
		e := New("SCRAM-SHA-256", d)
		if err := tt.talk(e); err != tt.err {
			t.Errorf("%+v: %v, want %v", tt.client, err, tt.err)
		}
		if _, a := e.Result(); (a.Address() == "taro@example.com") != (tt.err == nil) {
			t.Errorf("%+v: account %+v", tt.client, a)
		}
	}
}

// The example of RFC 7677 3 fixes the arithmetic of both sides.
func TestScramExample(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	salted, err := pbkdf2.Key(sha256.New, "pencil", salt, 4096, 32)
	if err != nil {
		t.Fatal(err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	s := &scram{
		result:      result{name: "user"},
		step:        1,
		header:      "n,,",
		nonce:       "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		authMessage: "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		verifier:    account.Verifier{StoredKey: stored[:], ServerKey: mac(salted, "Server Key")},
		found:       account.Account{Name: "user", Domain: "example.com"},
	}
	got, _, err := s.Next([]byte("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	if want := "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func FuzzExchange(f *testing.F) {
	d := directory(f)
	f.Add("PLAIN", []byte("\x00a\x00b"), []byte(""))
	f.Add("LOGIN", []byte("a"), []byte("b"))
	f.Add("SCRAM-SHA-256", []byte("n,,n=taro,r=x"), []byte("c=biws,r=x,p=AAAA"))
	f.Fuzz(func(t *testing.T, mechanism string, one, two []byte) {
		e := New(mechanism, d)
		if e == nil {
			return
		}
		if _, done, err := talk(e, one, two, []byte{}); done && err == nil {
			t.Errorf("%s %q %q: logged in", mechanism, one, two)
		}
	})
}
