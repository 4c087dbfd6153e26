package spoolfix

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
)

// With SPOOLFIX_TEST_CRASH=N set the test binary clears the directory
// SPOOLFIX_TEST_DIR and kills itself at step N. It returns only when there are
// fewer steps.
func clearAndCrash() {
	n, err := strconv.Atoi(os.Getenv("SPOOLFIX_TEST_CRASH"))
	if err != nil {
		panic(err)
	}
	d := &disk{buffer: 40}
	d.before = func(string) {
		if n--; n == 0 {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			fmt.Println(err)
			select {} // until it takes effect
		}
	}
	rep, err := Clear(context.Background(), Options{Dirs: []string{os.Getenv("SPOOLFIX_TEST_DIR")}, disk: d})
	if err != nil || len(rep.Actions) == 0 {
		panic(fmt.Sprint(err, rep))
	}
}

// A process that is killed, at whatever step, leaves every message in one of
// the two files at least; the next run brings them together, each once.
func TestKilledAtEveryStep(t *testing.T) {
	onLinux(t)
	for _, tt := range []struct {
		name string
		put  map[string]string
		want string
	}{
		{"merge", map[string]string{".taro.pop": mail(1, 2, 3), "taro": mail(3, 4, 5)}, mail(1, 2, 3, 4, 5)},
		{"half copied", map[string]string{".taro.pop": mail(1, 2)[:len(mail(1))+60], "taro": mail(1, 2)}, mail(1, 2)},
		{"no spool", map[string]string{".taro.pop": mail(1, 2), "taro.lock": fmt.Sprintln(deadPID)}, mail(1, 2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for step, killed := 1, true; killed; step++ {
				dir := t.TempDir()
				for name, text := range tt.put {
					write(t, dir, name, text)
				}
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "SPOOLFIX_TEST_CRASH="+strconv.Itoa(step), "SPOOLFIX_TEST_DIR="+dir)
				out, err := cmd.CombinedOutput()
				killed = err != nil
				if killed && runtime.GOOS != "windows" && cmd.ProcessState.ExitCode() != -1 { // -1: by a signal
					t.Fatalf("step %d: %v\n%s", step, err, out)
				}
				if step == 1 && !killed {
					t.Fatal("it was not killed at the first step")
				}
				if killed { // nothing is lost at this moment
					here := content(t, filepath.Join(dir, "taro")) + content(t, filepath.Join(dir, ".taro.pop"))
					if missing := missingFrom(here, tt.want); missing != "" {
						t.Fatalf("killed at step %d: lost %q", step, missing)
					}
				}
				_, err = Clear(context.Background(), Options{Dirs: []string{dir}, Now: time.Now().Add(time.Hour)})
				must(t, err)
				if d := cmp.Diff(tt.want, content(t, filepath.Join(dir, "taro"))); d != "" {
					t.Fatalf("after step %d: %s", step, d)
				}
				rep, err := Clear(context.Background(), Options{Dirs: []string{dir}})
				must(t, err)
				if len(rep.Actions) > 0 || rep.Summary != (diag.Summary{OK: 1}) {
					t.Fatalf("after step %d: %+v", step, rep)
				}
				if !killed {
					t.Logf("killed at each of %d steps", step-1)
				}
			}
		})
	}
}

// missingFrom returns a line of want that has a number and is not in text.
func missingFrom(text, want string) string {
	for n := 1; n < 10; n++ {
		line := fmt.Sprintf("\nHello %d\n", n)
		if strings.Contains(want, line) && !strings.Contains(text, line) {
			return line
		}
	}
	return ""
}
