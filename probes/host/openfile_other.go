//go:build !linux

package host

// OpenFile returns the path of a file of that base name which the process has
// open. It is seen on Linux only.
func OpenFile(int, string) string { return "" }
