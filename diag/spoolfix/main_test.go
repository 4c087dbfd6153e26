package spoolfix

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// deadPID is the id of a process that has ended.
var deadPID int

// With SPOOLFIX_TEST_HOLD set the test binary is another mail program: it opens
// that file for writing, locks it the way SPOOLFIX_TEST_LOCK says, and waits
// for its standard input to end.
func TestMain(m *testing.M) {
	if os.Getenv("SPOOLFIX_TEST_CRASH") != "" {
		clearAndCrash()
		os.Exit(0)
	}
	if path := os.Getenv("SPOOLFIX_TEST_HOLD"); path != "" {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil && os.Getenv("SPOOLFIX_TEST_LOCK") != "" {
			err = lockForTest(f, os.Getenv("SPOOLFIX_TEST_LOCK"))
		}
		fmt.Println("ready", err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "SPOOLFIX_TEST_HOLD=nothing")
	if err := cmd.Run(); err != nil {
		panic(err)
	}
	deadPID = cmd.Process.Pid
	os.Exit(m.Run())
}

// heldOpen starts a process that has path open, and returns its id.
func heldOpen(t *testing.T, path, lock string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOLFIX_TEST_HOLD="+path, "SPOOLFIX_TEST_LOCK="+lock)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready <nil>\n" {
		t.Fatalf("holder: %q %v", line, err)
	}
	return cmd.Process.Pid
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// age makes a file look as old as that.
func age(t testing.TB, path string, d time.Duration) {
	t.Helper()
	when := time.Now().Add(-d)
	must(t, os.Chtimes(path, when, when))
}

// write writes an hour-old file.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	age(t, path, time.Hour)
	return path
}

// tempDir is t.TempDir without os.RemoveAll, whose system call wine 8 has not.
func tempDir(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "windows" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "spoolfix")
	must(t, err)
	t.Cleanup(func() {
		var all []string
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			all = append(all, path)
			return err
		})
		slices.Reverse(all) // what lies in a folder goes first
		for _, path := range all {
			if err := os.Remove(path); err != nil {
				t.Log(err)
			}
		}
	})
	return dir
}
