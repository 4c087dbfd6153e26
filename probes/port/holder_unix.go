//go:build !linux && !windows

package port

import "context"

func listeners(ctx context.Context) ([]Holder, error) { return lsof(ctx) }
