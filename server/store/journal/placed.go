package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"

	"mailsrv/server/safeio"
)

// placed remembers, without any sync, which of the latest records were placed.
// It answers one question: a message of the journal is not in its mailbox; has
// the machine lost it, or has somebody taken it out? While the machine has
// been up and the file system mounted all the time, nothing is lost, and what
// stands here was placed. After a power cut the file counts for nothing.
//
// It is a ring behind a header that names the machine's time (Options.Machine),
// of one number for each record.
type placed struct{ f safeio.File }

const (
	placedHeader = 32
	placedSlots  = 1 << 16 // more than all segments hold of small records
)

func machineSum(machine string) []byte {
	sum := sha256.Sum256([]byte("placed of " + machine))
	return sum[:placedHeader]
}

func mark(salt, seq uint64) uint64 { return salt ^ seq*0x9e3779b97f4a7c15 }

// openPlaced returns the marks in the file, if it is of this machine's time;
// else it starts it anew.
func openPlaced(fsys safeio.FS, path, machine string) (*placed, map[uint64]bool) {
	was := map[uint64]bool{}
	flag := os.O_RDWR | os.O_CREATE
	data, err := fsys.ReadFile(path)
	if err == nil && machine != "" && len(data) >= placedHeader && bytes.Equal(data[:placedHeader], machineSum(machine)) {
		for data = data[placedHeader:]; len(data) >= 8; data = data[8:] {
			was[binary.LittleEndian.Uint64(data)] = true
		}
	} else {
		flag |= os.O_TRUNC
	}
	// Without the file a restore goes by what lies in the mailbox, as after a
	// power cut: no reason to refuse work.
	f, err := fsys.OpenFile(path, flag, 0o600)
	if err != nil {
		return &placed{}, was
	}
	if _, err := f.WriteAt(machineSum(machine), 0); err != nil {
		_ = f.Close()
		return &placed{}, was
	}
	return &placed{f}, was
}

func (p *placed) mark(salt, seq uint64) {
	if p.f == nil {
		return
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], mark(salt, seq))
	_, _ = p.f.WriteAt(b[:], placedHeader+int64(seq%placedSlots)*8) // see openPlaced
}

func (p *placed) close() error {
	if p.f == nil {
		return nil
	}
	return p.f.Close()
}
