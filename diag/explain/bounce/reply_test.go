package bounce

import "testing"

func TestFindAnswer(t *testing.T) {
	for text, want := range map[string]answer{
		"550 5.1.1 <a@example.jp>... User Unknown":                                           {"550", "5.1.1", 0},
		"host mx.example.jp[192.0.2.25] said: 550 no":                                        {"550", "", 37},
		"5.1.0 - Unknown address error 550-'5.7.1 Access denied'":                            {"550", "5.7.1", 30},
		"5.3.0 - Other mail system problem 550-'Unknown user'":                               {"550", "", 34},
		"554 4.4.7 Message expired: unable to deliver in 840 minutes.<421 4.4.2 timed out>":  {"421", "4.4.2", 61},
		"#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##":                                {"550", "5.1.1", 1},
		"550 550 5.7.1 <a@example.jp>... Access denied":                                      {"550", "5.7.1", 0},
		"Invalid Address, ERROR_CODE :550, ERROR_CODE :5.2.1 <a@example.jp>":                 {"550", "5.2.1", 29},
		"220-mx 421 4.2.1 Service refused":                                                   {"421", "4.2.1", 7},
		"550 #5.1.0 Address rejected.":                                                       {"550", "5.1.0", 0},
		"501 Rcpt-To validation failed: RCPT TO not accepted: 5.7.1 not configured to relay": {"501", "", 0},
		"250 2.1.5 Ok":            {"250", "2.1.5", 0},
		"571 No PTR Record found": {"571", "", 0},
	} {
		got, ok := findAnswer(text)
		if !ok || got != want {
			t.Errorf("findAnswer(%q) = %+v %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", "271 apples", "581 apples", "retried for 500 minutes", "See room 550.", "192.0.2.250 is down", "id=550", "mx550.example.jp", "x-unix; 255", "at line 552 of filter.pl",
	} {
		if got, ok := findAnswer(text); ok {
			t.Errorf("findAnswer(%q) = %+v", text, got)
		}
	}
}

func TestFindStatus(t *testing.T) {
	for text, want := range map[string]string{
		"Sorry, no mailbox here by that name. (#5.1.1)": "5.1.1",
		"RCPT TO not accepted: 5.7.1 This system":       "5.7.1",
		"550 5.7.606 Access denied":                     "5.7.606",
		"connect to 5.1.1.20: timed out":                "",
		"(version 4.8.5.36)":                            "",
		"Exim 4.92.3":                                   "",
		"postfix-4.1.2":                                 "",
		"6.1.1":                                         "",
	} {
		if got := findStatus(text); got != want {
			t.Errorf("findStatus(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestJoinReply(t *testing.T) {
	for in, want := range map[string]string{
		"550-5.7.1 Messages with multiple 550 5.7.1 addresses are not accepted": "550-5.7.1 Messages with multiple addresses are not accepted",
		"550-5.1.1 The account does 550-5.1.1 not exist. 550 5.1.1 Learn more":  "550-5.1.1 The account does not exist. Learn more",
		"550-Your message was rejected. 550-Reason: no reverse DNS":             "550-Your message was rejected. Reason: no reverse DNS",
		"550 5.1.1 User unknown": "550 5.1.1 User unknown",
		"no reply here":          "no reply here",
	} {
		if got := joinReply(in); got != want {
			t.Errorf("joinReply(%q) = %q, want %q", in, got, want)
		}
	}
}
