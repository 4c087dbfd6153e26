package deliver

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReadReply(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"250 2.1.0 Ok\r\n", "250 2.1.0 Ok"},
		{"250\r\n", "250"},
		{"250 \r\n", "250"},
		{"250 Ok\n", "250 Ok"},
		{"550-5.7.1 We do not\r\n550-5.7.1 take mail\r\n550 5.7.1 from you\r\n", "550 5.7.1 We do not take mail from you"},
		{"550-We do not\r\n550 5.7.1 take it\r\n", "550 5.7.1 We do not take it"},
		{"550 4.7.1 odd\r\n", "550 4.7.1 odd"}, // not believed: see TestEnhanced
		{"451 4.7.1 Gr\x00e\x1by\x80\tlisted \u3042\r\n", "451 4.7.1 Gr?e?y? listed \u3042"},
		{"550 " + strings.Repeat("x", 5000) + "\r\n", "550 " + strings.Repeat("x", 996)},
		{"250-" + strings.Repeat("y", 90_000) + "\r\n250 end\r\n", "250 " + strings.Repeat("y", 996) + " ..."},
	} {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(tt.in), 16))
		if err != nil || r.String() != tt.want {
			t.Errorf("%.40q: %.60q, %v; want %.60q", tt.in, r.String(), err, tt.want)
		}
	}
}

func TestEnhanced(t *testing.T) {
	for text, want := range map[string]string{
		"550 5.1.1 x": "5.1.1", "550 4.1.1 x": "", "550 5.1 x": "", "550 5.1.1.1 x": "", "550 5.1000.1 x": "", "550 192.0.2.1 x": "", "450 4.2.0": "4.2.0", "550 5.7.606 x": "5.7.606",
	} {
		r, err := readReply(bufio.NewReader(strings.NewReader(text + "\r\n")))
		if err != nil || r.enhanced != want {
			t.Errorf("%q: %q, %v; want %q", text, r.enhanced, err, want)
		}
	}
}

func TestReadReplyRefuses(t *testing.T) {
	for _, in := range []string{"hello\r\n", "25\r\n", "2500 x\r\n", "250_x\r\n", "150 x\r\n", "650 x\r\n", "\r\n", "+OK\r\n", strings.Repeat("250-x\r\n", 1<<20), "250 " + strings.Repeat("x", 5<<20)} {
		if _, err := readReply(bufio.NewReader(strings.NewReader(in))); !errors.Is(err, errNoReply) {
			t.Errorf("%.20q: %v", in, err)
		}
	}
	for _, in := range []string{"", "250", "250-x\r\n", "250-x\r\n250 y"} {
		if _, err := readReply(bufio.NewReader(strings.NewReader(in))); !errors.Is(err, io.EOF) {
			t.Errorf("%.20q: %v", in, err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 2.1.0 Ok\r\n", "550-5.7.1 a\r\n550 5.7.1 b\r\n", "250-\xff\x00\r\n250 ok\n", "354\r\n", "25", "421 4.4.2 \u3042\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(string(in)), 32))
		if err != nil {
			return
		}
		s := r.String()
		if r.code < 200 || r.code > 599 || len(r.lines) == 0 || len(r.lines) > maxReplyLines {
			t.Errorf("%+v", r)
		}
		if len(s) > maxReplyText+maxReplyLine+20 || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00\x1b") {
			t.Errorf("unclean: %q", s)
		}
		if r.enhanced != "" && (!isEnhanced(r.enhanced) || r.enhanced[0] != byte('0'+r.code/100)) {
			t.Errorf("enhanced %q of %d", r.enhanced, r.code)
		}
	})
}
