//go:build race

package spoolfix

// propertySpools: the race detector is slow, and there is little for it here.
const propertySpools = 100
