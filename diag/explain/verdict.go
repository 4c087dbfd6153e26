package explain

// Verdicts of Diagnosis.Verdict: what a live check (package verify) made of a
// cause. They say how it is now, seen from here.
const (
	Confirmed    = "confirmed"
	Rejected     = "rejected"
	Undetermined = "undetermined"
)

// Contact is one party that a live check speaks to, named before it does.
type Contact struct {
	How   string   `json:"how"`            // smtp, submission, pop3, imap, dns; sockets: the list of this machine's
	Where string   `json:"where"`          // host:port, a resolver, or "MX of example.net"
	What  string   `json:"what,omitempty"` // the TLS mode, the names asked for
	RCPT  string   `json:"rcpt,omitempty"` // smtp: asked for with MAIL and RCPT, no message follows
	Then  []string `json:"then,omitempty"` // ports and TLS modes tried when that fails
}
