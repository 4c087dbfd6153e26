//go:build !linux && !darwin && !windows

package host

import "errors"

func statVolume(string) (Volume, error) { return Volume{}, errors.ErrUnsupported }
