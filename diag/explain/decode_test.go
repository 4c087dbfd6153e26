package explain

import (
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"mailsrv/codes"
)

// A dialog saved with the editors of three decades reads the same.
func TestDecode(t *testing.T) {
	const text = "サーバーへの接続は失敗しました。 アカウント : 'テスト', ソケット エラー : 10061"
	for name, e := range map[string]encoding.Encoding{
		"UTF-16 little endian": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
		"UTF-16 big endian":    unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
		"Shift_JIS":            japanese.ShiftJIS,
		"EUC-JP":               japanese.EUCJP,
		"ISO-2022-JP":          japanese.ISO2022JP,
		"UTF-8":                unicode.UTF8,
		"UTF-8 with a mark":    unicode.UTF8BOM,
	} {
		t.Run(name, func(t *testing.T) {
			b, err := e.NewEncoder().Bytes([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if isBinary(b) {
				t.Fatal("taken for binary data")
			}
			if got := clean(decode(b)); got != clean(text) {
				t.Errorf("%q", got)
			}
		})
	}
	b, err := charmap.Windows1252.NewEncoder().Bytes([]byte("Numéro d’erreur : 0x800CCC0E"))
	if err != nil {
		t.Fatal(err)
	}
	if r := Explain(b, codes.English); r.Context == nil || r.Context.ErrorNumber != "0x800CCC0E" {
		t.Errorf("Windows-1252: %+v", r.Context)
	}
}

func TestCutCharacterAtTheEnd(t *testing.T) {
	text := "エラー番号 : 0x800CCC0E エラー"
	if got := decode([]byte(text)[:len(text)-1]); got != "エラー番号 : 0x800CCC0E エラ" {
		t.Errorf("%q", got)
	}
}

func TestKindsWithoutText(t *testing.T) {
	for in, want := range map[string]Kind{
		"":                          KindEmpty,
		" \r\n\t ":                  KindEmpty,
		"\ufeff":                    KindEmpty,
		"\x89PNG\r\n\x1a\n\x00\x00": KindBinary,
		"\x00\x01\x02":              KindBinary,
		"\x01\x02\x03\x04abc":       KindBinary,
	} {
		r := Explain([]byte(in), codes.English)
		if r.Input.Kind != want || r.Recognised() || len(r.Matches)+len(r.Diagnosis) > 0 {
			t.Errorf("%q: %+v", in, r)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"ｱｶｳﾝﾄ：'ﾃｽﾄ'":           "アカウント:'テスト'",
		"“a” ‘b’ « c » 「d」":     `"a" 'b' " c " "d"`,
		"a\r\nb\rc":             "a\nb\nc",
		"> a\n>> b\n> > c\nd":   "a\nb\nc\nd",
		"a\u200bb\u00adc\ufeff": "abc",
		"−1 –2 —3":              "-1 -2 -3",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
