//go:build mailsrv_nosync

package safeio

const durable = false
