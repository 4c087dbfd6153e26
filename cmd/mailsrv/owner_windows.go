package main

// giveToOwnerOf: files inherit their rights from the folder on Windows.
func giveToOwnerOf(string, ...string) error { return nil }
