package account

import (
	"fmt"
	"strings"
	"unicode"
)

// CheckName says what is wrong with the local part of a new account. What is
// accepted is a file name on every system and needs no quotes in an address.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("an account needs a name")
	case len(name) > 64:
		return fmt.Errorf("a name has at most 64 characters (RFC 5321 4.5.3.1.1)")
	}
	for i, r := range []rune(name) {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=", r) {
			what := fmt.Sprintf("%q", r)
			if r > 0x7e && unicode.IsPrint(r) {
				what += " (not ASCII)"
			}
			return fmt.Errorf("character %d, %s, is not allowed in an account's name: letters, digits and . _ - + = are", i+1, what)
		}
	}
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return fmt.Errorf("points stand singly and inside a name")
	}
	if name[0] == '-' {
		return fmt.Errorf("a name does not begin with a hyphen")
	}
	if isDevice(name) {
		return fmt.Errorf("%q is the name of a device on Windows, where no file can have it", name)
	}
	return nil
}

// isDevice tells names that Windows reserves in every folder, with any ending.
// They are refused everywhere, so that a data directory can move.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch stem {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	if len(stem) != 4 || stem[3] < '0' || stem[3] > '9' {
		return false
	}
	return stem[:3] == "COM" || stem[:3] == "LPT"
}

// CheckPassword says why a password is too easy to guess or cannot be typed
// into every client.
func CheckPassword(name, domain, password string) error {
	if len(password) > 1024 {
		return fmt.Errorf("a password has at most 1024 octets")
	}
	for _, r := range password {
		if unicode.IsControl(r) {
			return fmt.Errorf("a password holds no control characters")
		}
		if r >= 0xff01 && r <= 0xff5e || r == 0x3000 {
			return fmt.Errorf("%q is a full-width character: switch the input method to direct input", r)
		}
	}
	if len([]rune(password)) < 8 {
		return fmt.Errorf("a password has at least 8 characters; several words in a row are easy to remember and hard to guess")
	}
	plain := strings.ToLower(password)
	label, _, _ := strings.Cut(domain, ".")
	for _, guess := range []string{name, domain, name + "@" + domain, label, "password", "mailsrv", "12345678", "123456789", "1234567890", "qwertyuiop", "iloveyou"} {
		if rest, ok := strings.CutPrefix(plain, strings.ToLower(guess)); guess != "" && ok && strings.Trim(rest, "0123456789!") == "" {
			return fmt.Errorf("the name, the domain and well-known words are the first that others try")
		}
	}
	return nil
}
