package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mailsrv/diag/explain"
	"mailsrv/diag/explain/bounce"
)

// openSource yields a file: an mbox mail by mail, a long log as such, anything
// else as one input. A single mail that was saved with its mbox line, as .eml,
// stays one.
func openSource(name string, yield func(source) bool) bool {
	f, err := os.Open(name)
	if err != nil {
		return yield(source{name: name, err: err})
	}
	defer f.Close()
	if strings.EqualFold(filepath.Ext(name), ".eml") {
		return yield(readSource(name, f))
	}
	size := int64(0)
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	r, packed, err := unpacked(f)
	if err != nil {
		return yield(source{name: name, err: err})
	}
	if packed {
		size = 0
	}
	return readMails(name, r, size, yield)
}

// unpacked reads what gzip packed, as rotated logs are, as it was before.
func unpacked(r io.Reader) (_ io.Reader, packed bool, err error) {
	br := bufio.NewReader(r)
	if head, _ := br.Peek(2); string(head) != "\x1f\x8b" {
		return br, false, nil
	}
	z, err := gzip.NewReader(br)
	return z, true, err
}

// readMails yields the mails of an mbox, numbered when there are several, or
// the whole input when it is none. size is that of the input, 0 when it is not
// known.
func readMails(name string, r io.Reader, size int64, yield func(source) bool) bool {
	br := bufio.NewReader(r)
	if head, _ := br.Peek(512); !bounce.IsMbox(head) {
		if size == 0 || size > longLog {
			if br = bufio.NewReaderSize(br, longLog); peekLog(br) {
				return yield(source{name: name, log: br, size: size})
			}
		}
		return yield(readSource(name, br))
	}
	var one *source // held back until it is known to be the only one
	n := 0
	for mail, whole := range bounce.Mails(br, explain.MaxInput) {
		if n++; n == 1 {
			one = &source{name: name, text: mail, rest: !whole}
			continue
		}
		if n == 2 {
			one.name += "#1"
			if !yield(*one) {
				return false
			}
			one = nil
		}
		if !yield(source{name: fmt.Sprintf("%s#%d", name, n), text: mail, rest: !whole}) {
			return false
		}
	}
	return one == nil || yield(*one)
}
