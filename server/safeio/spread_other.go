//go:build !linux

package safeio

// Spread asks the file system of dir to give each folder that is made in it a
// place of its own: a hint, which is known on Linux only.
func Spread(string) {}
