//go:build !windows

package main

import (
	"errors"
	"syscall"
)

// readerGone tells whether whoever read the output has seen enough ("| head").
func readerGone(err error) bool { return errors.Is(err, syscall.EPIPE) }
