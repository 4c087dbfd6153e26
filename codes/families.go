package codes

// Families are the names of the parts of the catalogue: outlook, winsock, ...
func Families() []string {
	out := make([]string, len(families))
	for i, f := range families {
		out[i] = f.name
	}
	return out
}
