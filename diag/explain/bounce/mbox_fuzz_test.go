package bounce

import (
	"bytes"
	"testing"
)

// No octet of an mbox is lost or moved, wherever its mails begin and end; where
// a mail is longer than the limit only its end is missing.
func FuzzMails(f *testing.F) {
	const mail = "From a@example.org Thu Nov 20 03:11:02 2026\nFrom: a\nTo: b\n\nbody\n\n"
	f.Add([]byte(mail+mail), 1000)
	f.Add([]byte(mail+"From here on it is text: no mail.\n"+mail), 20)
	f.Add(bytes.ReplaceAll([]byte(mail+mail), []byte("\n"), []byte("\r\n")), 60)
	f.Add([]byte("--b--\nFrom x 1:2:3\nA: b\n"), 5)
	f.Fuzz(func(t *testing.T, raw []byte, limit int) {
		if len(raw) > 1<<16 || limit < 1 {
			return
		}
		var all []byte
		cut := false
		for mail, whole := range Mails(bytes.NewReader(raw), limit) {
			if len(mail) > limit {
				t.Fatalf("%d octets, limit %d", len(mail), limit)
			}
			cut = cut || !whole
			all = append(all, mail...)
		}
		if !cut && !bytes.Equal(all, raw) {
			t.Fatalf("%q\nbecame %q", raw, all)
		}
	})
}
