package spoolfix

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// On a real file system that is full, to whatever degree, nothing is changed
// and nothing of ours is left; with room it works.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	must(t, os.Mkdir(dir, 0o700))
	const size = 1 << 20
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	pop, spool := big(1, 2, 3), big(3, 4, 5)
	refused := 0
	for free := 0; free < 400<<10; free += 16 << 10 {
		write(t, dir, ".taro.pop", pop)
		write(t, dir, "taro", spool)
		ballast := filepath.Join(dir, "ballast~")
		room := size - len(pop) - len(spool) - 4<<10
		if err := os.WriteFile(ballast, make([]byte, max(room-free, 0)&^4095), 0o600); err != nil {
			t.Fatal(err)
		}
		before := files(t, dir)
		rep, err := Clear(context.Background(), Options{Dirs: []string{dir}})
		must(t, err)
		switch a := rep.Actions[0]; a.Action {
		case Merged:
			if content(t, filepath.Join(dir, "taro")) != big(1, 2, 3, 4, 5) {
				t.Fatalf("%d free: something else came out", free)
			}
		case Kept:
			refused++
			if a.Why != WhyFailed || !strings.Contains(a.Error, syscall.ENOSPC.Error()) {
				t.Errorf("%d free: %+v", free, a)
			}
			if d := cmp.Diff(before, files(t, dir)); d != "" {
				t.Fatalf("%d free: %s", free, d)
			}
			must(t, os.Remove(ballast))
			rep, err := Clear(context.Background(), Options{Dirs: []string{dir}})
			must(t, err)
			if rep.Actions[0].Action != Merged || content(t, filepath.Join(dir, "taro")) != big(1, 2, 3, 4, 5) {
				t.Fatalf("%d free, then all: %+v", free, rep.Actions[0])
			}
		}
		for name := range files(t, dir) {
			must(t, os.Remove(filepath.Join(dir, name)))
		}
	}
	if refused < 3 {
		t.Errorf("the disk was too full only %d times", refused)
	}
}

// big is mail whose bodies fill blocks.
func big(ns ...int) string {
	return strings.ReplaceAll(mail(ns...), "Hello", strings.Repeat(strings.Repeat("x", 70)+"\n", 400)+"Hello")
}
