package main

import (
	"golang.org/x/sys/windows"

	"mailsrv/codes"
)

// systemLang is the user's UI language: Windows sets no locale variables.
func systemLang() codes.Lang {
	names, err := windows.GetUserPreferredUILanguages(windows.MUI_LANGUAGE_NAME)
	if err == nil && len(names) > 0 {
		if lang, ok := codes.ParseLang(names[0]); ok {
			return lang
		}
	}
	return codes.English
}
