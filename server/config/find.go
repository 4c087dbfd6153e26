package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// FileName is the configuration file's usual name.
const FileName = "mailsrv.toml"

// Find returns the configuration file to use: the one of the --config flag,
// $MAILSRV_CONFIG, ./mailsrv.toml, or the one at the system's usual place. An
// empty path means that there is none and the defaults hold. A file that is
// named, by flag or environment, is returned whether it exists or not.
func Find(flag string) string {
	if flag != "" {
		return flag
	}
	if env := os.Getenv("MAILSRV_CONFIG"); env != "" {
		return env
	}
	for _, path := range []string{FileName, UsualPlace()} {
		// A file that exists but cannot be looked at counts: using the
		// defaults in its place would be another server.
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// UsualPlace is where the operating system keeps such files.
func UsualPlace() string {
	switch runtime.GOOS {
	case "windows":
		dir := os.Getenv("ProgramData")
		if dir == "" {
			dir = `C:\ProgramData`
		}
		return filepath.Join(dir, "mailsrv", FileName)
	case "darwin":
		return "/usr/local/etc/mailsrv/" + FileName
	default:
		return "/etc/mailsrv/" + FileName
	}
}
