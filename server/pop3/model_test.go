package pop3

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailsrv/server/conn"
	"mailsrv/server/store"
)

// mail is one message of the model: its number makes it unique.
type mail struct {
	n    int
	text string
	uid  string // once seen
}

// model is what the mailbox should hold.
type model struct {
	mu        sync.Mutex
	begun     int // deliveries
	committed int
	there     []*mail
}

// compose makes a message with everything that a line protocol could trip over.
func compose(r *rand.Rand, n int) string {
	b := fmt.Sprintf("Subject: %d\r\n\r\n", n)
	for range r.IntN(8) {
		b += []string{".", "..", "", ".x", "plain", "\x00\xff", strings.Repeat("long ", 400)}[r.IntN(7)] + "\r\n"
	}
	return b
}

// deliver stores messages one after another until told to stop.
func (m *model) deliver(t *testing.T, s store.Store, seed uint64, stop chan struct{}) {
	r := rand.New(rand.NewPCG(seed, 1))
	for {
		m.mu.Lock()
		if len(m.there) > 20 {
			m.mu.Unlock()
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond): // until some are deleted
			}
			continue
		}
		m.begun++
		one := &mail{n: m.begun, text: compose(r, m.begun)}
		m.mu.Unlock()
		in, err := s.Begin(fmt.Sprint("D", one.n), []store.Box{box})
		if err == nil {
			_, err = io.WriteString(in, one.text)
		}
		if err == nil {
			err = in.Commit()
		}
		if err != nil {
			t.Error(err)
			return
		}
		m.mu.Lock()
		m.committed = one.n
		m.there = append(m.there, one)
		m.mu.Unlock()
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(3000)) * time.Microsecond):
		}
	}
}

// TestModel holds random sessions against a model while mail arrives, another
// program moves files, and deleted mail is brought back.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var disk *store.Maildirs
	r := newRig(t, func(r *rig) {
		disk, _ = r.Store.(*store.Maildirs)
		disk.Keep = time.Hour
		if err := disk.Start(r.Log); err != nil { // with the journal
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := disk.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	m := &model{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { m.deliver(t, disk, seed, stop) })
	random := rand.New(rand.NewPCG(seed, 2))
	for range 25 {
		m.session(t, r, random)
		if t.Failed() {
			break
		}
		if random.IntN(3) == 0 {
			meddle(t, r.dir, random)
		}
		if random.IntN(4) == 0 {
			waitUnlocked(t, r)
			m.undelete(t, disk, random)
		}
	}
	close(stop)
	wg.Wait()
}

var subject = regexp.MustCompile(`^Subject: (\d+)\r\n`)

// session plays one session and checks each answer.
func (m *model) session(t *testing.T, r *rig, random *rand.Rand) {
	t.Helper()
	m.mu.Lock()
	before, committed := slices.Clone(m.there), m.committed
	m.mu.Unlock()
	waitUnlocked(t, r)
	p := r.dial(t)
	defer p.Close()
	p.login()
	uids := strings.Fields(p.raw("UIDL"))
	var list []*mail
	for i := range len(uids) / 2 {
		text := unstuff(p.raw(fmt.Sprint("RETR ", i+1)))
		match := subject.FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("message %d: %.200q", i+1, text)
		}
		n, _ := strconv.Atoi(match[1])
		one := m.find(before, n)
		if one == nil {
			// It came while the session began.
			m.mu.Lock()
			if n <= committed || n > m.begun {
				t.Errorf("message %d is number %d, which should not be there", i+1, n)
			}
			m.mu.Unlock()
			one = &mail{n: n, text: text}
		}
		if one.text != text {
			t.Errorf("number %d: %.200q, want %.200q", n, text, one.text)
		}
		if one.uid == "" {
			one.uid = uids[2*i+1]
		}
		if one.uid != uids[2*i+1] {
			t.Errorf("number %d has the UID %s, had %s", n, uids[2*i+1], one.uid)
		}
		list = append(list, one)
	}
	for _, one := range before {
		if !slices.Contains(list, one) {
			t.Errorf("number %d is missing", one.n)
		}
	}
	if !slices.IsSortedFunc(list, func(a, b *mail) int { return a.n - b.n }) {
		t.Error("not in the order of arrival")
	}
	deleted := map[int]bool{}
	for range random.IntN(30) {
		m.command(t, p, random, list, deleted)
	}
	if random.IntN(3) == 0 {
		return // the connection is lost: nothing is deleted
	}
	if got := p.do("QUIT"); got != "+OK Bye" {
		t.Errorf("QUIT: %s", got)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range deleted {
		n := list[i].n
		m.there = slices.DeleteFunc(m.there, func(one *mail) bool { return one.n == n })
	}
}

func (m *model) find(in []*mail, n int) *mail {
	i := slices.IndexFunc(in, func(one *mail) bool { return one.n == n })
	if i < 0 {
		return nil
	}
	return in[i]
}

// command sends one random command and checks what comes back.
func (m *model) command(t *testing.T, p *peer, random *rand.Rand, list []*mail, deleted map[int]bool) {
	t.Helper()
	n := random.IntN(len(list)+2) - 1 // sometimes before or behind the list
	total := func() (count, size int) {
		for i, one := range list {
			if !deleted[i] {
				count, size = count+1, size+len(one.text)
			}
		}
		return count, size
	}
	refusal := ""
	switch {
	case n < 0 || n >= len(list):
		refusal = fmt.Sprintf("-ERR No such message, only %d messages in mailbox", len(list))
	case deleted[n]:
		refusal = fmt.Sprintf("-ERR Message %d is deleted", n+1)
	}
	expect := func(command, want string) {
		t.Helper()
		if refusal != "" {
			want = refusal
		}
		if got := p.do(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	number := n + 1
	switch random.IntN(8) {
	case 0:
		count, size := total()
		refusal = ""
		expect("STAT", fmt.Sprintf("+OK %d %d", count, size))
	case 1:
		if refusal == "" {
			expect(fmt.Sprint("LIST ", number), fmt.Sprintf("+OK %d %d", number, len(list[n].text)))
		} else {
			expect(fmt.Sprint("LIST ", number), "")
		}
	case 2:
		if refusal == "" {
			expect(fmt.Sprint("UIDL ", number), fmt.Sprintf("+OK %d %s", number, list[n].uid))
		} else {
			expect(fmt.Sprint("UIDL ", number), "")
		}
	case 3:
		expect(fmt.Sprint("DELE ", number), fmt.Sprintf("+OK Message %d will be deleted at QUIT", number))
		if refusal == "" {
			deleted[n] = true
		}
	case 4:
		if refusal == "" {
			if got := unstuff(p.raw(fmt.Sprint("RETR ", number))); got != list[n].text {
				t.Errorf("RETR %d: %.200q", number, got)
			}
		} else {
			expect(fmt.Sprint("RETR ", number), "")
		}
	case 5:
		lines := random.IntN(5)
		if refusal == "" {
			head, body, _ := strings.Cut(list[n].text, "\r\n\r\n")
			want := head + "\r\n\r\n" + strings.Join(first(strings.SplitAfter(body, "\r\n"), lines), "")
			if got := unstuff(p.raw(fmt.Sprintf("TOP %d %d", number, lines))); got != want {
				t.Errorf("TOP %d %d: %.200q, want %.200q", number, lines, got, want)
			}
		} else {
			expect(fmt.Sprintf("TOP %d %d", number, lines), "")
		}
	case 6:
		if random.IntN(3) == 0 {
			clear(deleted)
			count, size := total()
			refusal = ""
			expect("RSET", fmt.Sprintf("+OK Mailbox has %d messages (%d octets)", count, size))
		}
	case 7:
		count, size := total()
		want := []string{}
		for i, one := range list {
			if !deleted[i] {
				want = append(want, fmt.Sprintf("%d %d\r\n", i+1, len(one.text)))
			}
		}
		if got := p.raw("LIST"); got != strings.Join(want, "") {
			t.Errorf("LIST of %d messages (%d octets): %q, want %q", count, size, got, want)
		}
	}
}

func first(lines []string, n int) []string { return lines[:min(n, len(lines))] }

func unstuff(raw string) string {
	var b strings.Builder
	for line := range strings.Lines(raw) {
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	return b.String()
}

// meddle does what mail programs do: they take files from new to cur and change
// flags.
func meddle(t *testing.T, dir string, random *rand.Rand) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "mail", "*", "*", "Maildir", "[nc]??", "*"))
	for _, from := range files {
		if random.IntN(2) == 0 {
			continue
		}
		name, _, _ := strings.Cut(filepath.Base(from), ";2,") // a colon cannot stand in a name on Windows
		to := filepath.Join(filepath.Dir(filepath.Dir(from)), "cur", name+";2,"+[]string{"", "S", "RS"}[random.IntN(3)])
		if err := os.Rename(from, to); err != nil {
			t.Error(err)
		}
	}
}

// undelete brings back some of what was deleted.
func (m *model) undelete(t *testing.T, s *store.Maildirs, random *rand.Rand) {
	t.Helper()
	kept, err := s.Kept(box)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		if random.IntN(2) == 0 {
			continue
		}
		if err := s.Restore(box, []store.Kept{k}, store.By{Client: "test"}); err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(k.Subject)
		// Its text is in no list any more: what comes back is checked by its UID
		// and size.
		m.mu.Lock()
		back := &mail{n: n, uid: k.UID, text: composed(t, s, k.UID)}
		if int64(len(back.text)) != k.Size {
			t.Errorf("number %d came back with %d octets, had %d", n, len(back.text), k.Size)
		}
		m.there = append(m.there, back)
		slices.SortFunc(m.there, func(a, b *mail) int { return a.n - b.n })
		m.mu.Unlock()
	}
}

func composed(t *testing.T, s *store.Maildirs, uid string) string {
	t.Helper()
	b, err := s.Open(box, store.By{Client: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i, msg := range b.Messages() {
		if msg.UID == uid {
			r, err := b.Read(i)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			text, _ := io.ReadAll(r)
			return string(text)
		}
	}
	t.Errorf("%s did not come back", uid)
	return ""
}

// inMemory is a store with one mailbox that is always there.
type inMemory struct {
	store.Store
	texts   []string
	deleted []int
}

func (s *inMemory) Open(store.Box, store.By) (store.Mailbox, error) { return s, nil }
func (s *inMemory) Close() error                                    { return nil }
func (s *inMemory) Delete(which []int) error                        { s.deleted = which; return nil }
func (s *inMemory) Read(i int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(s.texts[i])), nil
}
func (s *inMemory) Messages() (out []store.Message) {
	for i, text := range s.texts {
		out = append(out, store.Message{UID: fmt.Sprint("uid", i), Size: int64(len(text))})
	}
	return out
}

// FuzzTransaction throws octets at a session that is logged in. Whatever comes,
// each reply has its form, messages come out whole, and nothing is deleted
// without a DELE and a QUIT.
func FuzzTransaction(f *testing.F) {
	for _, s := range []string{"STAT\r\nLIST\r\nUIDL\r\n", "RETR 1\r\nTOP 2 1\r\nDELE 1\r\nQUIT\r\n", "DELE 2\nRSET\nDELE\n", "LIST 99999999999999999999\r\nRETR -1\r\n\x00\xff\r\n"} {
		f.Add([]byte(s))
	}
	texts := []string{"a: b\r\n\r\n.c\r\n..\r\n", "\r\n\r\n.\r\n"}
	f.Fuzz(func(t *testing.T, in []byte) {
		mem := &inMemory{texts: texts}
		s := &Server{Service: "pop3", Hostname: "mail.example.com", Mechanisms: []string{"PLAIN"}, Accounts: oneAccount{},
			Store: mem, Limits: Limits{AuthFailures: 3, Idle: 10 * time.Second}, Log: slog.New(slog.DiscardHandler)}
		script := &scriptConn{pieces: [][]byte{[]byte("USER taro\r\nPASS " + password + "\r\n"), in, []byte("\r\nRSET\r\nQUIT\r\n")}}
		c := conn.New(script, 10*time.Second)
		s.Serve(c)
		_ = c.W.Flush()
		out := script.out.Bytes()
		upper := bytes.ToUpper(in)
		if len(mem.deleted) > 0 && !(bytes.Contains(upper, []byte("DELE")) && bytes.Contains(upper, []byte("QUIT"))) {
			t.Errorf("%q: deleted %v", in, mem.deleted)
		}
		for line := range bytes.Lines(out) {
			if !bytes.HasSuffix(line, []byte("\r\n")) {
				t.Errorf("%q: answered %q", in, line)
			}
		}
	})
}
