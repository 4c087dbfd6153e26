package codes

import "slices"

// Families are the names of the parts of the catalogue: outlook, winsock, ...
func Families() []string {
	var out []string
	for _, f := range families {
		if !slices.Contains(out, f.name) {
			out = append(out, f.name)
		}
	}
	return out
}
