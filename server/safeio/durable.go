//go:build !mailsrv_nosync

package safeio

// durable is false only in a binary that bench/serve.sh builds, to see how far
// the real one is from the limit.
const durable = true
