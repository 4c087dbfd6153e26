package spool

import "io/fs"

// system: owners on Windows are no numbers, and of no use for mbox spools.
func (f *File) system(fs.FileInfo) {}
