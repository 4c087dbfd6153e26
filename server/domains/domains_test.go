package domains

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChangesAreSeen(t *testing.T) {
	dir := t.TempDir()
	live := Watch(dir)
	if got := live.List(); got != nil {
		t.Errorf("without a file: %q", got)
	}
	for _, list := range [][]string{{"example.net"}, {"example.net", "Example.ORG"}, {"example.org"}, nil} {
		if err := Write(dir, list); err != nil {
			t.Fatal(err)
		}
		want, err := Read(dir)
		if err != nil || len(want) != len(list) {
			t.Fatalf("Read after Write(%q): %q, %v", list, want, err)
		}
		if diff := cmp.Diff(want, live.List()); diff != "" {
			t.Errorf("after Write(%q) (-read +live):\n%s", list, diff)
		}
	}
}

func TestHandWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(File(dir), []byte("# mine\n\n  Example.NET  # since May\r\nexample.net\nexample.org"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if diff := cmp.Diff([]string{"example.net", "example.org"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
