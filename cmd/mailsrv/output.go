package main

import "os"

// output is standard output, and why it did not take something: a disk that is
// full must not look like a report that found nothing.
type output struct {
	*os.File
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.File.Write(p)
	if err != nil && o.err == nil && !readerGone(err) {
		o.err = err
	}
	return n, err
}
