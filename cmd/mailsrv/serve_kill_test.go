package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mailsrv/server/deliver/sinktest"
)

// tally is what the clients of the killed server know.
type tally struct {
	mu      sync.Mutex
	acked   map[string]bool // by subject: 250 was said
	deleted map[string]bool // QUIT after DELE was answered
	unsure  map[string]bool // QUIT after DELE was not
	back    []string        // deleted, and seen again
}

const killPassword = "correct horse battery"

// TestKilledServerLosesNothing kills the real server fifty times under load:
// mail for one mailbox, for two, for a mailbox and somebody elsewhere, for
// somebody elsewhere who gets it at once, while
// one mailbox is fetched and emptied all the time. Every message that the
// server said 250 to must be where it belongs exactly once, in mailboxes and
// queue; one that it did not say 250 to may be there once. What was deleted
// stays deleted. And nothing that a killed server leaves behind may keep the
// next one, or a POP3 login, out.
func TestKilledServerLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and kills it many times")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "mailsrv")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cfg := filepath.Join(dir, "mailsrv.toml")
	smtpAddr, popAddr := freeAddr(t), freeAddr(t)
	// The smart host takes some of the mail for elsewhere, the rest stays in
	// the queue.
	out := &elsewhere{got: map[string]int{}}
	smart := sinktest.New(t, sinktest.Config{Script: out.answer})
	text := fmt.Sprintf("hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = %q\npop3 = %q\n[relay]\nnetworks = [\"127.0.0.0/8\"]\nsmart_host = %q\n",
		smtpAddr, popAddr, smart.Addr())
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"taro", "hanako"} {
		add := exec.Command(bin, "user", "add", user, "--password-stdin", "--config", cfg)
		add.Stdin = strings.NewReader(killPassword + "\n")
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("user add: %v\n%s", err, out)
		}
	}

	known := &tally{acked: map[string]bool{}, deleted: map[string]bool{}, unsure: map[string]bool{}}
	const rounds, clients = 50, 4
	for round := range rounds {
		server := serveJSON(t, bin, cfg)
		var wg sync.WaitGroup
		for client := range clients {
			wg.Go(func() {
				for n := 0; known.send(smtpAddr, fmt.Sprintf("m%d-%d-%d", round, client, n), n%4); n++ {
				}
			})
		}
		wg.Go(func() {
			for known.fetch(popAddr) == nil {
			}
		})
		time.Sleep(time.Duration(10+rand.IntN(120)) * time.Millisecond) // the moment is meant to be any
		if err := server.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = server.Wait()
		wg.Wait()
	}

	server := serveJSON(t, bin, cfg)
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	taro, hanako := mailboxOf(t, popAddr, "taro"), mailboxOf(t, popAddr, "hanako")
	queue := queued(t, bin, cfg)
	for subject := range known.acked {
		var round, client, n int
		if _, err := fmt.Sscanf(subject, "m%d-%d-%d", &round, &client, &n); err != nil {
			t.Fatal(err)
		}
		if n%4 != 3 && taro[subject] != 1 {
			t.Errorf("message %s was acknowledged, and is %d times in taro's mailbox", subject, taro[subject])
		}
		if have := hanako[subject]; n%4 == 1 && have != 1 && !known.deleted[subject] && !known.unsure[subject] {
			t.Errorf("message %s was acknowledged, and is %d times in hanako's mailbox", subject, have)
		}
		if n%4 == 2 && queue[subject] != 1 {
			t.Errorf("message %s was acknowledged, and is %d times in the queue", subject, queue[subject])
		}
		if n%4 == 3 && queue[subject]+out.count(subject) == 0 {
			t.Errorf("message %s was acknowledged, and has neither left nor is in the queue", subject)
		}
	}
	for _, subject := range known.back {
		t.Errorf("message %s was deleted, and was back for a while", subject)
	}
	for subject := range known.deleted {
		if hanako[subject] > 0 {
			t.Errorf("message %s was deleted, and is back", subject)
		}
	}
	for name, all := range map[string]map[string]int{"taro": taro, "hanako": hanako, "queue": queue} {
		for subject, n := range all {
			if n != 1 {
				t.Errorf("%s: message %s is there %d times", name, subject, n)
			}
		}
	}
	// Twice goes only what the smart host had taken in the moment of the kill.
	if n := out.again(); n > rounds*clients {
		t.Errorf("%d messages went out again in %d rounds", n, rounds)
	}
	if len(known.acked) < rounds {
		t.Errorf("only %d messages in %d rounds: no load", len(known.acked), rounds)
	}
	t.Logf("%d messages acknowledged, %d deleted; at the end taro has %d, hanako %d, the queue %d; %d have left, %d of them twice",
		len(known.acked), len(known.deleted), len(taro), len(hanako), len(queue), len(out.got), out.again())
}

// elsewhere is a smart host that takes mail for go-NAME and puts off the rest.
type elsewhere struct {
	mu  sync.Mutex
	got map[string]int // how often, by NAME
}

func (e *elsewhere) answer(s *sinktest.Session, verb, arg string) string {
	switch {
	case verb == "RCPT" && !strings.Contains(arg, "<go-"):
		return "451 4.3.0 Not now"
	case verb == "END":
		name, _, _ := strings.Cut(s.To[0], "@")
		_, name, _ = strings.Cut(name, "<go-")
		e.mu.Lock()
		e.got[name]++
		e.mu.Unlock()
	}
	return ""
}

func (e *elsewhere) count(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got[name]
}

func (e *elsewhere) again() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, times := range e.got {
		n += times - 1
	}
	return n
}

// send sends one message and tells whether the server is still there. kind 1
// goes to two mailboxes, kind 2 to a mailbox and the queue, kind 3 out.
func (k *tally) send(addr, subject string, kind int) bool {
	to := [][]string{{"taro@example.com"}, {"taro@example.com", "hanako@example.com"}, {"taro@example.com", subject + "@example.net"}, {"go-" + subject + "@example.net"}}[kind]
	size := rand.IntN(8000)
	if rand.IntN(10) == 0 {
		size = rand.IntN(200_000)
	}
	if err := send(addr, nil, "a@example.com", to, "Subject: "+subject+"\r\n\r\n"+lines(size)); err != nil {
		return false
	}
	k.mu.Lock()
	k.acked[subject] = true
	k.mu.Unlock()
	return true
}

func lines(size int) string { return strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1+size/72) }

// fetch deletes what is in hanako's mailbox.
func (k *tally) fetch(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	in := bufio.NewReader(c)
	ask := func(command string) (string, error) {
		if command != "" {
			if _, err := io.WriteString(c, command+"\r\n"); err != nil {
				return "", err
			}
		}
		answer, err := in.ReadString('\n')
		if err == nil && !strings.HasPrefix(answer, "+OK") {
			err = fmt.Errorf("%s: %s", command, answer)
		}
		return answer, err
	}
	stat := ""
	for _, command := range []string{"", "USER hanako", "PASS " + killPassword, "STAT"} {
		if stat, err = ask(command); err != nil {
			return err
		}
	}
	var n, size int
	if _, err := fmt.Sscanf(stat, "+OK %d %d", &n, &size); err != nil {
		return err
	}
	var taken []string
	for i := range n {
		if _, err := ask(fmt.Sprint("TOP ", i+1, " 0")); err != nil {
			return err
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			if subject, ok := strings.CutPrefix(line, "Subject: "); ok {
				taken = append(taken, strings.TrimSpace(subject))
			}
			if line == ".\r\n" {
				break
			}
		}
		if _, err := ask(fmt.Sprint("DELE ", i+1)); err != nil {
			return err
		}
	}
	_, err = ask("QUIT")
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, subject := range taken {
		if k.deleted[subject] {
			k.back = append(k.back, subject)
		}
		if err == nil {
			k.deleted[subject] = true
			delete(k.unsure, subject)
		} else {
			k.unsure[subject] = true
		}
	}
	return err
}

// mailboxOf counts the messages of a mailbox by subject; each must be whole.
func mailboxOf(t *testing.T, addr, user string) map[string]int {
	t.Helper()
	messages, err := popAll(addr, user, killPassword)
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	count := map[string]int{}
	for _, m := range messages {
		_, rest, _ := strings.Cut(m, "\r\nSubject: ")
		subject, body, _ := strings.Cut(rest, "\r\n\r\n")
		count[subject]++
		if body == "" || body != lines(len(body)-72) {
			t.Errorf("%s: message %s is damaged", user, subject)
		}
	}
	return count
}

// queued counts the messages in the queue by the name of their recipient.
func queued(t *testing.T, bin, cfg string) map[string]int {
	t.Helper()
	out, err := exec.Command(bin, "queue", "list", "--json", "--config", cfg).Output()
	if err != nil {
		t.Fatalf("queue list: %v", err)
	}
	var doc struct {
		Messages []struct {
			Recipients []struct{ Address string }
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("queue list: %v", err)
	}
	count := map[string]int{}
	for _, m := range doc.Messages {
		for _, r := range m.Recipients {
			name, _, _ := strings.Cut(r.Address, "@")
			count[strings.TrimPrefix(name, "go-")]++
		}
	}
	return count
}
