package spoolfix

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"mailsrv/diag"
)

// crash is what a test stops the disk with.
type crash struct{ step string }

// world is one user's generated spool, and what must come of it.
type world struct {
	user string
	ids  []string // of the messages that are whole somewhere
	cut  [][]byte // what is there of those that are whole nowhere
}

// lengthLine is left out where it is wrong.
var lengthLine = regexp.MustCompile(`(?m)^Content-Length: \d*\r?\n?`)

// gen makes mail.
type gen struct{ *rand.Rand }

func (g gen) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g gen, list ...T) T { return list[g.IntN(len(list))] }

const innerFrom = "From taro@example.com Mon Jan  1 00:00:00 2024\nSubject: inside\n\nnot a message\n"

// message is one with a unique id, in mbox form.
func (g gen) message(id string) string {
	var body strings.Builder
	protected := false
	for range g.IntN(8) {
		switch g.IntN(14) {
		case 0:
			body.WriteString("From here on it is only text\n")
		case 1:
			body.WriteString(">From taro@example.com Mon Jan  1 00:00:00 2024\n")
		case 2:
			body.WriteString("text\nFrom taro@example.com Mon Jan  1 00:00:00 2024\nno header\n")
		case 3:
			body.WriteString("\n" + innerFrom)
			protected = true
		case 4:
			body.WriteString("one \x00 NUL\n")
		case 5:
			body.WriteString("many " + strings.Repeat("\x00", 4+g.IntN(600)) + " NULs\n")
		case 6:
			body.WriteString("\n\n")
		case 7:
			body.WriteString("carriage\rreturn\r\n")
		case 8:
			if g.chance(5) {
				body.WriteString(strings.Repeat("long ", 20_000) + "\n")
			}
		case 9:
			body.WriteString("Status: RO\nX-UIDL: in the body\n")
		default:
			fmt.Fprintf(&body, "line %d of %s\n", g.IntN(1000), id)
		}
	}
	text := body.String() + "END-" + id + ".\n"
	head := fmt.Sprintf("From %s@example.com Mon Jan  1 00:%02d:%02d 2024\nMessage-ID: <%s.>\nSubject: number %s\n", pick(g, "taro", "hanako"), g.IntN(60), g.IntN(60), id, id)
	switch {
	case protected:
		head += fmt.Sprintf("Content-Length: %d\n", len(text))
	case g.chance(5):
		head += fmt.Sprintf("Content-Length: %d\n", pick(g, g.IntN(4), 1_000_000))
	}
	m := head + "\n" + text + "\n"
	if g.chance(5) && !protected {
		m = strings.ReplaceAll(strings.ReplaceAll(m, "\r\n", "\n"), "\n", "\r\n")
	}
	return m
}

// marked is the message as a POP server writes it back.
func (g gen) marked(m string) string {
	return strings.Replace(m, "Subject:", pick(g, "Status: RO\nX-UIDL: abc\nSubject:", "Status: O\nSubject:", "X-Keywords:  \nX-Status: A\nSubject:"), 1)
}

// cutOff breaks text off anywhere, also in the way of a file system that never
// wrote the rest.
func (g gen) cutOff(text string) string {
	if text == "" {
		return ""
	}
	n := g.IntN(len(text))
	if g.chance(10) {
		return text[:n] + strings.Repeat("\x00", 4+g.IntN(500))
	}
	return text[:n]
}

// world writes one spool directory entry.
func (g gen) world(t testing.TB, dir, user string) world {
	w := world{user: user}
	var old, fresh []string
	for i := range 1 + g.IntN(4) {
		id := fmt.Sprintf("%s-old%d", user, i)
		old = append(old, g.message(id))
		w.ids = append(w.ids, id)
	}
	for i := range g.IntN(4) {
		id := fmt.Sprintf("%s-new%d", user, i)
		fresh = append(fresh, g.message(id))
		w.ids = append(w.ids, id)
	}
	new := strings.Join(fresh, "")
	var pop, spool string
	noSpool := false
	switch g.IntN(6) {
	case 0: // the session died: all in .user.pop, mail has come since
		pop, spool = strings.Join(old, ""), new
		noSpool = spool == "" && g.chance(50)
	case 1: // copying away broke off
		spool = strings.Join(old, "") + new
		pop = g.cutOff(strings.Join(old, ""))
	case 2: // copied, the spool not yet emptied
		spool = strings.Join(old, "") + new
		for _, m := range old {
			pop += g.marked(m)
		}
	case 3: // writing back broke off; mail that came since stands behind it
		back := ""
		for _, m := range old {
			back += g.marked(m)
		}
		pop = strings.Join(old, "")
		spool = g.cutOff(back)
		if new != "" {
			spool += pick(g, "", "\n", "\n\n") + new
		}
	case 4: // some were deleted in the session; writing back broke off
		pop = strings.Join(old, "")
		for _, m := range old {
			if g.chance(60) {
				spool += m
			}
		}
		if spool = g.cutOff(spool); new != "" {
			spool += pick(g, "", "\n", "\n\n") + new
		}
	case 5: // a .user.pop that is itself cut off
		last := g.message(user + "-last")
		broken := last[:strings.Index(last, "Subject:")+g.IntN(len(last)-strings.Index(last, "Subject:")-20)]
		pop, spool = strings.Join(old, "")+broken, new
		w.cut = append(w.cut, []byte(strings.TrimRight(lengthLine.ReplaceAllString(broken, ""), "\r\n")))
	}
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		age(t, path, time.Hour)
	}
	put("."+user+".pop", pop)
	if !noSpool {
		put(user, spool)
	}
	if g.chance(20) {
		put(user+".lock", fmt.Sprintf("%d\n", deadPID))
	}
	return w
}

// check counts what is in the spool at last.
func (w world) check(t *testing.T, dir string) {
	text, err := os.ReadFile(filepath.Join(dir, w.user))
	must(t, err)
	for _, id := range w.ids {
		for what, mark := range map[string]string{"end": "END-" + id + ".", "header": "Message-ID: <" + id + ".>"} {
			if n := bytes.Count(text, []byte(mark)); n != 1 {
				t.Errorf("%s: %s of %s is there %d times", w.user, what, id, n)
			}
		}
	}
	text = lengthLine.ReplaceAll(text, nil)
	for _, c := range w.cut {
		if !bytes.Contains(text, c) {
			t.Errorf("%s: the cut message is not there any more", w.user)
		}
	}
}

// A thousand spools in all the states in which POP servers and deliveries can
// leave them are cleared by a program that crashes at random steps: no message
// is lost, none is doubled.
func TestNothingLostNothingDoubled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who has a file open is seen on Linux only")
	}
	dir := t.TempDir()
	if fast, err := os.MkdirTemp("/dev/shm", "spoolfix"); err == nil { // thousands of files
		t.Cleanup(func() { os.RemoveAll(fast) })
		dir = fast
	}
	seed := uint64(20010401)
	if s := os.Getenv("SPOOLFIX_TEST_SEED"); s != "" { // other spools, other crashes
		_, err := fmt.Sscan(s, &seed)
		must(t, err)
	}
	g := gen{rand.New(rand.NewPCG(seed, 1))}
	var worlds []world
	for i := range propertySpools {
		worlds = append(worlds, g.world(t, dir, fmt.Sprintf("u%d", i)))
	}
	crashes, rounds := 0, 0
	for clean := false; !clean; rounds++ {
		if rounds > 30 {
			t.Fatal("it never ends")
		}
		clean = true
		opt := Options{Dirs: []string{dir}, Now: time.Now()}.withDefaults()
		boxes, locks, _, err := look(context.Background(), opt)
		must(t, err)
		for i, b := range boxes {
			left := 1 + g.IntN(60) // steps to the crash
			if rounds > 5 {
				left = 1 << 30
			}
			opt.disk = crashing(t, dir, &left)
			if len(locks[i]) == 0 {
				continue
			}
			clean = false
			if !survives(func() {
				for _, a := range clearBox(context.Background(), boxes, b, locks[i], opt) {
					if a.Action == Kept || a.Lost != 0 || a.Before-a.Duplicates != a.After {
						t.Errorf("%+v", a)
					}
				}
			}) {
				crashes++
				buryDead(t, g, dir, b.User)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d crashes in %d rounds", crashes, rounds)
	for _, w := range worlds {
		w.check(t, dir)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	rep, err := Clear(context.Background(), Options{Dirs: []string{dir}})
	must(t, err)
	if len(rep.Actions) > 0 || rep.Summary != (diag.Summary{OK: 1}) {
		t.Errorf("second run: %+v %+v", rep.Actions, rep.Summary)
	}
}

// survives tells whether f ended without a crash.
func survives(f func()) (ok bool) {
	defer func() {
		if c := recover(); c != nil {
			if _, is := c.(crash); !is {
				panic(c)
			}
		}
	}()
	f()
	return true
}

// crashing is a disk that dies after so many steps, and on which nothing takes
// the place of anything before it is durable.
func crashing(t *testing.T, dir string, left *int) *disk {
	dirty := map[string]bool{} // written, not yet synced
	named := false             // a name was changed, the directory not yet synced
	d := &disk{noSync: true, buffer: 200, patience: time.Second}
	last := ""
	d.before = func(step string) {
		word, name, _ := strings.Cut(step, " ")
		switch word {
		case "create":
			last = name
			dirty[last] = true
		case "sync":
			delete(dirty, name)
		case "rename":
			if len(dirty) > 0 {
				t.Errorf("%s, but %v is not on the disk", step, dirty)
			}
			named = true
		case "syncdir":
			named = false
		case "remove":
			if named {
				t.Errorf("%s before the directory is on the disk", step)
			}
		}
		if *left--; *left == 0 {
			d.dead = true
			panic(crash{step})
		}
	}
	return d
}

// buryDead does to a crashed process what the system does: what was not synced
// may be on the disk only in part, and its process id is nobody's.
func buryDead(t *testing.T, g gen, dir, user string) {
	for _, name := range []string{"." + user + ".mailsrv-new", "." + user + ".bak.mailsrv-new", "." + user + ".pop.bak.mailsrv-new"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			must(t, os.Truncate(path, g.Int64N(info.Size())))
		}
	}
	lock := filepath.Join(dir, user+".lock")
	if b, err := os.ReadFile(lock); err == nil && string(b) == fmt.Sprintf("%d\n", os.Getpid()) {
		must(t, os.WriteFile(lock, []byte(fmt.Sprintf("%d\n", deadPID)), 0o600))
	}
}
