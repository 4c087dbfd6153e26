//go:build !windows

package main

import "mailsrv/codes"

// systemLang is the language when no environment variable names one.
func systemLang() codes.Lang { return codes.English }
