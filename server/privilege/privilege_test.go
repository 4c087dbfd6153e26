//go:build !windows

package privilege

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestMain is also the program that gives up root's rights: a test process must
// not do that to itself.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PRIVILEGE_TEST_DIR"); dir != "" {
		do := becomeNobody
		if os.Getenv("PRIVILEGE_TEST_COMMAND") != "" {
			do = beOwner
		}
		if err := do(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func becomeNobody(dir string) error {
	u, err := Begin("nobody", filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "early"), nil, 0o600); err != nil {
		return err
	}
	if _, err := os.ReadFile(filepath.Join(dir, "secret")); err == nil {
		return fmt.Errorf("nobody reads what is root's")
	}
	read := func() error {
		_, err := os.ReadFile(filepath.Join(dir, "secret"))
		return err
	}
	bind := func() error {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			err = ln.Close()
		}
		return err
	}
	for _, f := range []func() error{read, bind} {
		if err := u.AsRoot(f); err != nil {
			return fmt.Errorf("AsRoot: %w", err)
		}
	}
	if err := u.Drop(); err != nil {
		return err
	}
	if err := u.AsRoot(read); err == nil {
		return fmt.Errorf("root again after Drop")
	}
	if groups, err := os.Getgroups(); err != nil || fmt.Sprint(groups) == "[0]" {
		return fmt.Errorf("groups %v, %v", groups, err)
	}
	return os.WriteFile(filepath.Join(dir, "data", "late"), nil, 0o600)
}

// beOwner is a command of root on the data directory of nobody.
func beOwner(dir string) error {
	if err := BecomeOwner(filepath.Join(dir, "data")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "data", "by-command"), nil, 0o600)
}

func TestBecomeAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "privilege")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"", "1"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PRIVILEGE_TEST_DIR="+dir, "PRIVILEGE_TEST_COMMAND="+command)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, name := range []string{"data", "data/early", "data/late", "data/by-command"} {
		out, err := exec.Command("ls", "-ldn", filepath.Join(dir, name)).Output()
		if fields := strings.Fields(string(out)); err != nil || len(fields) < 4 || fields[2] != nobody.Uid || fields[3] != nobody.Gid {
			t.Errorf("%s, %v; want it to belong to %s", out, err, nobody.Uid)
		}
	}
	if out, _ := exec.Command("ls", "-ldn", filepath.Join(dir, "data")).Output(); !strings.HasPrefix(string(out), "drwx------") {
		t.Errorf("data directory: %s", out)
	}
	// What is root's already cannot be taken over silently.
	theirs := filepath.Join(dir, "theirs")
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Begin("nobody", theirs); err == nil || !strings.Contains(err.Error(), "chown -R nobody "+theirs) {
		t.Errorf("a data directory of root: %v", err)
	}
}

func TestBeginRefuses(t *testing.T) {
	dir := t.TempDir()
	if u, err := Begin("", dir); u != nil || err != nil {
		t.Errorf("no name: %v, %v", u, err)
	}
	if _, err := Begin("no-such-user", dir); err == nil || !strings.Contains(err.Error(), "useradd --system no-such-user") {
		t.Errorf("unknown: %v", err)
	}
	own, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Skip(err)
	}
	if u, err := Begin(own.Username, dir); u != nil || err != nil {
		t.Errorf("oneself: %v, %v", u, err)
	}
	if os.Getuid() != 0 {
		if _, err := Begin("root", dir); err == nil || !strings.Contains(err.Error(), "only root can") {
			t.Errorf("somebody else: %v", err)
		}
	}
}
