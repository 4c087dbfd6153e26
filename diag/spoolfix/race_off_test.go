//go:build !race

package spoolfix

// propertySpools is how many spools are cleared with crashes.
const propertySpools = 1000
