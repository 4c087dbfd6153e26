package store

import "golang.org/x/sys/windows"

var (
	fullNumbers     = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}
	readOnlyNumbers = []error{windows.ERROR_WRITE_PROTECT}
)
