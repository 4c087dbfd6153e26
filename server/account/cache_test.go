package account

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"
)

// An account file that has been left alone for a while is decoded once; every
// change of it holds at once all the same.
func TestCache(t *testing.T) {
	d := newFiles(t)
	cli := Open(d.dataDir, []string{"example.com"})
	mustAdd(t, cli, "taro", "example.com")
	file := d.File("taro", "example.com")
	settle := func() {
		t.Helper()
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Lookup("taro", "example.com"); err != nil {
			t.Fatal(err)
		}
	}
	settle()

	// What nobody can notice shows that it is not read again.
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte, at time.Time) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write(bytes.Repeat([]byte("?"), len(text)), info.ModTime())
	if _, err := d.Lookup("taro", "example.com"); err != nil {
		t.Errorf("an unchanged file was read again: %v", err)
	}

	// Changed in place, as an editor may do.
	write(bytes.Repeat([]byte("?"), len(text)), info.ModTime().Add(time.Second))
	var damaged *DamagedError
	if _, err := d.Lookup("taro", "example.com"); !errors.As(err, &damaged) {
		t.Errorf("after a change in place: %v", err)
	}
	write(text, info.ModTime())
	if _, err := d.Lookup("taro", "example.com"); err != nil {
		t.Errorf("put right: %v", err)
	}

	// Changed a moment ago: not trusted, whatever its time says.
	now := time.Now()
	write(text, now)
	if _, err := d.Lookup("taro", "example.com"); err != nil {
		t.Error(err)
	}
	write(bytes.Repeat([]byte("?"), len(text)), now)
	if _, err := d.Lookup("taro", "example.com"); !errors.As(err, &damaged) {
		t.Errorf("after two changes at the same time: %v", err)
	}
	write(text, now)

	settle()
	if err := cli.SetPassword("taro", "example.com", "quite another one"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Authenticate("taro", "quite another one"); err != nil {
		t.Errorf("new password: %v", err)
	}
	settle()
	if err := cli.Remove("taro", "example.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lookup("taro", "example.com"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after its end: %v", err)
	}
}
