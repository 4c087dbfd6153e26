// Package store keeps messages and hands them out again.
//
// A message is taken in with Begin, written, and made durable in all its
// mailboxes with Commit; only then may anybody say 250. Mailboxes are plain
// Maildirs, DATA_DIR/mail/DOMAIN/USER/Maildir/{tmp,new,cur}, which other
// programs can read. The octets of a message are kept as they came.
//
// Callers know the store by the Store, Incoming and Mailbox interfaces;
// Maildirs implements them on files. The package also holds the lock that
// keeps a second server off a data directory, and the file in which the
// running one says where it listens.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Box names a mailbox: a local account, both parts in lower case.
type Box struct{ Name, Domain string }

func (b Box) String() string { return b.Name + "@" + b.Domain }

// Store takes messages in and opens mailboxes.
type Store interface {
	// Begin starts to take in one message for boxes, of which there is at
	// least one. id is the transaction's, in letters and digits; it becomes a
	// part of the message's file name.
	Begin(id string, boxes []Box) (Incoming, error)

	// Open opens a mailbox for one session. Others get an *InUseError that names
	// by until Close.
	Open(box Box, by By) (Mailbox, error)

	// Remove deletes a mailbox and all mail in it.
	Remove(box Box) error

	// Expire removes for good what was deleted and has been kept long enough,
	// in all mailboxes, and tells how much that was.
	Expire(ctx context.Context) (messages int, octets int64, err error)

	// Close ends the store once no message is under way and no mailbox open.
	Close() error
}

// By says who opens a mailbox, deletes a message or brings it back.
type By struct {
	Client   string `json:"client"`             // address of a client, or a program of this machine and its user
	Protocol string `json:"protocol,omitempty"` // "pop3", "pop3s"; empty for a program of this machine
	Session  string `json:"session,omitempty"`  // as in the log
}

// Incoming is a message that is being taken in. Either Commit or Abort ends
// it; Abort after Commit does nothing.
type Incoming interface {
	// Write adds octets. Lines end with CRLF, and so does the message.
	io.Writer

	// Commit makes the message durable in all mailboxes, or in none and
	// returns why.
	Commit() error

	Abort()
}

// Mailbox is an opened mailbox: the messages as they were when it was opened,
// oldest first.
type Mailbox interface {
	Messages() []Message

	// Read returns the octets of message i, lines ended by CRLF: as many as
	// its Size says. ErrGone when another program has deleted it since.
	Read(i int) (io.ReadCloser, error)

	// Delete deletes messages durably and writes that into the history. They are
	// kept for a while where no mail program sees them. Those that are gone
	// already count as deleted; the error says which are still there, and why.
	Delete(messages []int) error

	Close() error
}

// Message is one message of an opened mailbox.
type Message struct {
	UID  string // never changes and is never used again: 1 to 70 printable ASCII characters
	Size int64  // octets with CRLF line ends
}

// What can be wrong with the disk, for errors.Is.
var (
	ErrFull     = errors.New("the disk is full")
	ErrReadOnly = errors.New("the file system is read-only")
	ErrGone     = errors.New("the message file is gone: another program has moved or deleted it")
)

// InUseError says who has a mailbox open.
type InUseError struct {
	Box    Box
	Holder string
	Since  time.Time
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("mailbox %s is open in another session, from %s since %s", e.Box, e.Holder, e.Since.Format(time.RFC3339))
}

// DiskError adds ErrFull or ErrReadOnly where the system says so: for whatever
// lies in the data directory.
func DiskError(err error) error {
	for kind, numbers := range map[error][]error{ErrFull: fullNumbers, ErrReadOnly: readOnlyNumbers} {
		for _, n := range numbers {
			if errors.Is(err, n) {
				return fmt.Errorf("%w: %w", kind, err)
			}
		}
	}
	return err
}
