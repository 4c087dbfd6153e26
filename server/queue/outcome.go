package queue

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"mailsrv/codes"
	"mailsrv/server/deliver"
)

// apply writes the results of an attempt into the envelope, and does what
// follows from it. it.mu is held; j is the job that was tried.
func (q *Queue) apply(it *item, e *Envelope, j *job, due []int, results []deliver.Result) {
	now := time.Now().UTC().Truncate(time.Second)
	var logs []func()
	for n, i := range due {
		if r := results[n]; r.Cause != cancelled || r.Uncertain { // else there was no attempt
			logs = append(logs, q.applyOne(e, &e.Recipients[i], r, now))
		}
	}
	log := func() {
		for _, l := range logs {
			l()
		}
	}
	if e.finished() {
		// Off the disk first: if the server is killed before, the message
		// goes out a second time.
		q.settle(it, e, j)
		log()
		return
	}
	q.save(it, e)
	log()
	q.settle(it, e, j)
}

func (q *Queue) applyOne(e *Envelope, r *Recipient, res deliver.Result, now time.Time) (logIt func()) {
	o := q.opt()
	r.Tries++
	r.LastTry, r.NextTry = now, time.Time{}
	r.Code, r.Status, r.Reply, r.Command, r.TLS = res.Code, res.Enhanced, res.Text, res.Command, res.TLS
	r.Host, r.Addr, r.Cause = res.Host, "", ""
	if res.Addr.IsValid() {
		r.Addr = res.Addr.String()
	}
	log := o.Log.With("id", e.ID, "to", r.Address, "host", r.Host, "addr", r.Addr, "tls", r.TLS, "try", r.Tries, "delay", now.Sub(e.Accepted).String(), "reply", r.Reply)
	if res.TLSFault != "" {
		log = log.With("tls_fault", res.TLSFault)
	}
	switch res.Outcome {
	case deliver.Delivered:
		r.State = Delivered
		// A host that knows DSN reports itself (RFC 3461 5.2).
		r.Told = res.DSN || !r.wants("SUCCESS") || e.Sender == ""
		q.counts.delivered.Add(1)
		return func() { log.Info("message delivered") }
	case deliver.Failed:
		r.Cause = Cause(res)
		q.fail(e, r)
		return func() { log.Warn("message failed", "cause", r.Cause) }
	}
	r.Cause = Cause(res)
	end := e.Accepted.Add(o.Retry.GiveUpAfter)
	if !now.Before(end) {
		r.Expired = true
		q.fail(e, r)
		return func() { log.Warn("message failed", "cause", r.Cause, "why", "time is up") }
	}
	q.counts.deferred.Add(1)
	step := o.Retry.Schedule[min(r.Tries, len(o.Retry.Schedule))-1]
	r.NextTry = time.Now().UTC().Add(time.Duration(float64(step)*q.jitter()) + time.Second - 1).Truncate(time.Second) // rounded up
	if r.NextTry.After(end) {
		r.NextTry = end // the last try
	}
	return func() { log.Info("message deferred", "cause", r.Cause, "next_try", r.NextTry.Format(time.RFC3339)) }
}

// fail notes that a recipient will not get the message, and who has to hear it.
func (q *Queue) fail(e *Envelope, r *Recipient) {
	r.State = Failed
	r.Told = !r.wants("FAILURE")
	if e.Sender == "" {
		r.Told = e.Notice == DoubleBounce || q.opt().DoubleBounce(e) == ""
	}
	q.counts.failed.Add(1)
}

// cancelled is the cause of an attempt that ended because this server stops.
const cancelled = "cancelled"

// Cause is the word of the list of causes for a result: what the network
// said, else what the host's words mean, else its codes.
func Cause(r deliver.Result) string {
	if r.Cause != "" {
		return r.Cause
	}
	for _, m := range codes.MatchText(r.Text) {
		if c := m.Entry.Cause; c != "" && c != "unknown" && c != "none" {
			return c
		}
	}
	for _, key := range []string{r.Enhanced, codeKey(r.Code)} {
		for _, e := range codes.Lookup(key) {
			if c := e.Cause; (e.Family == "enhanced" || e.Family == "smtp") && c != "" && c != "none" {
				return c
			}
		}
	}
	return "unknown"
}

func codeKey(code int) string {
	if code < 200 || code > 599 {
		return ""
	}
	return string([]byte{byte('0' + code/100), byte('0' + code/10%10), byte('0' + code%10)})
}

// retryIn is how soon what failed for reasons of our own is tried again: a
// full disk, a mailbox that cannot take a notice.
const retryIn = time.Minute

// save writes an envelope to the disk. If that fails it is kept in memory and
// written later: nothing that was delivered is forgotten as long as the server
// runs. it.mu is held.
func (q *Queue) save(it *item, e *Envelope) {
	if q.isGone(it) {
		return
	}
	err := q.keeper.file(it.letter)
	if err == nil {
		err = q.keeper.save(e)
	}
	it.dirty = err != nil
	if err != nil {
		q.opt().Log.Error("envelope cannot be written; it is kept in memory and written later", "id", e.ID, "error", err)
	}
}

// discard takes a finished message off the disk. it.mu is held.
func (q *Queue) discard(it *item, e *Envelope) {
	var err error
	bare := q.keeper.drop(it.letter)
	if !bare {
		err = q.folder.do("remove envelope", func() error { return q.folder.remove(q.folder.envelope(e.ID)) })
	}
	it.dirty = err != nil
	if err != nil {
		q.opt().Log.Error("message cannot be removed from the queue; that is tried again", "id", e.ID, "error", err)
		return
	}
	q.mu.Lock()
	q.remove(it)
	q.trash = append(q.trash, finished{e.ID, bare})
	inline := !q.sweeping && !q.running
	if !q.sweeping {
		q.sweeping = true
		if !inline {
			q.tasks.Go(q.sweep)
		}
	}
	q.mu.Unlock()
	if inline {
		q.sweep()
	}
}

// finished is a message that is done.
type finished struct {
	id   string
	bare bool // it has no files
}

// sweep makes it durable that messages are done, and then removes their texts.
// What is done meanwhile waits and shares the next sync.
func (q *Queue) sweep() {
	for {
		q.mu.Lock()
		done := q.trash
		q.trash = nil
		q.sweeping = len(done) > 0
		q.mu.Unlock()
		if len(done) == 0 {
			return
		}
		ids := make([]string, len(done))
		for i, d := range done {
			ids[i] = d.id
		}
		err := q.keeper.forget(ids)
		for _, d := range done {
			if err == nil && !d.bare {
				err = q.folder.do("remove text", func() error { return q.folder.remove(q.folder.text(d.id)) })
			}
		}
		if err != nil {
			q.opt().Log.Warn("text of a message that is done cannot be removed; the next start does it", "error", err)
		}
	}
}

// removeFile removes a file; one that is gone already is no error.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// unreadable deals with a message that cannot be read: what is damaged is set
// aside, what the disk does not give is asked for again later.
func (q *Queue) unreadable(it *item, err error) {
	var d *damage
	if !errors.As(err, &d) {
		q.opt().Log.Error("message cannot be read from the queue; that is tried again", "id", it.id, "error", err)
		q.later(it, time.Now().Add(retryIn))
		return
	}
	q.mu.Lock()
	q.remove(it)
	q.mu.Unlock()
	if moveErr := q.folder.setAside(it.id, d); moveErr != nil {
		err = errors.Join(err, moveErr)
	}
	q.opt().Log.Error("damaged message set aside; the others go on", "id", it.id, "error", err, "folder", q.folder.damaged())
}
