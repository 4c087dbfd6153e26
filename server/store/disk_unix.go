//go:build unix

package store

import "golang.org/x/sys/unix"

var (
	fullNumbers     = []error{unix.ENOSPC, unix.EDQUOT}
	readOnlyNumbers = []error{unix.EROFS}
)
