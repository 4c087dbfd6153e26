package relaytest

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"mailsrv/probes/dial"
	"mailsrv/probes/smtp"
)

// Verdict is what came of a try.
type Verdict struct {
	Result string // refused, accepted, unclear, skip
	Reply  string
	Rule   string // of our own policy room; empty when a server was asked
	Stage  string // the command that the reply answers; empty when rules were asked
	Sent   bool   // a message was taken after RCPT
}

// The results. They are part of the JSON documents.
const (
	Refused  = "refused"
	Accepted = "accepted"
	Unclear  = "unclear" // a temporary refusal, or no answer
	Skip     = "skip"    // not asked, or the answer would say nothing
)

// Answers are all tries with what came of each.
type Answers struct {
	Tries     []Try
	Verdicts  []Verdict // of the tries in their order; fewer when the server stopped answering
	Err       error     // why it could not be asked, or not to the end
	OwnDomain string    // the recipient asked for is in this domain, which is the server's own: nothing was asked
	CatchAll  bool      // the server takes every local part in its own domain
	Client    netip.Addr
}

// Offline asks a function instead of a server: the rules of a configuration.
func Offline(n Names, ask func(Try) Verdict) Answers {
	a := Answers{Tries: Battery(n), Client: Stranger}
	for _, t := range a.Tries {
		a.Verdicts = append(a.Verdicts, ask(t))
	}
	a.checkInside(func() Verdict { return ask(control(n)) })
	return a
}

// checkInside takes the tries that end in the server's own domain out of the
// judgement when it takes everything there.
func (a *Answers) checkInside(askControl func() Verdict) {
	var doubtful []int
	for i, v := range a.Verdicts {
		if v.Result == Accepted && inside[a.Tries[i].Name] {
			doubtful = append(doubtful, i)
		}
	}
	if len(doubtful) == 0 || askControl().Result != Accepted {
		return
	}
	a.CatchAll = true
	for _, i := range doubtful {
		if !a.Verdicts[i].Sent { // a message that arrives proves what RCPT does not
			a.Verdicts[i].Result = Skip
		}
	}
}

// Client asks one server, over as many connections as that takes: many hang up
// or slow down after some refusals. It belongs to one goroutine.
type Client struct {
	Greeting string
	Addr     string // the address connected to
	Local    string // our own
	// Cleartext tells that passwords would be taken before TLS.
	Cleartext bool
	Deliver   string // send a message by each try that is accepted

	ctx     context.Context
	addr    string
	opt     smtp.Options
	conn    *smtp.Conn
	asked   int  // on this connection
	wantTLS bool // the server asks for STARTTLS first
}

// Dial connects and reads the greeting.
func Dial(ctx context.Context, addr string, opt smtp.Options) (*Client, error) {
	c := &Client{ctx: ctx, addr: addr, opt: opt}
	return c, c.connect()
}

func (c *Client) connect() error {
	conn, err := smtp.Dial(c.ctx, c.addr, c.opt)
	if err != nil {
		return err
	}
	greeting, err := conn.Greeting()
	if err == nil {
		_, err = conn.Ehlo()
	}
	if err == nil && conn.TLS == nil {
		m := conn.Mechanisms()
		c.Cleartext = slices.Contains(m, "PLAIN") || slices.Contains(m, "LOGIN")
	}
	if err == nil && c.wantTLS && conn.TLS == nil && conn.Has("STARTTLS") {
		if _, err = conn.StartTLS(); err == nil {
			_, err = conn.Ehlo()
		}
	}
	if err != nil {
		conn.Close()
		return err
	}
	c.Greeting, c.Addr, c.Local = greeting.String(), conn.Addr, conn.Local
	c.conn, c.asked = conn, 0
	return nil
}

// Close ends the connection politely.
func (c *Client) Close() {
	if c.conn != nil {
		_, _ = c.conn.Quit() // all is said
		c.conn = nil
	}
}

func (c *Client) drop() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

const (
	// perConnection is after how many tries a new connection is made: Postfix
	// answers slowly from the tenth error on.
	perConnection = 8
	// attempts at one try, when the connection ends in it.
	attempts = 2
	// maxLost is how many attempts in a row may end without an answer before
	// the server counts as gone.
	maxLost = 4
)

// Ask puts the whole battery to the server.
func (c *Client) Ask(n Names) Answers {
	a := Answers{Tries: Battery(n)}
	lost := 0
	ask := func(t Try) Verdict {
		v := Verdict{Result: Unclear}
		for range attempts {
			if lost >= maxLost || c.ctx.Err() != nil {
				return v
			}
			if v, a.Err = c.ask(t); a.Err == nil || v.Result != Unclear {
				lost = 0
				return v
			}
			lost++
		}
		return v
	}
	for _, t := range a.Tries {
		a.Verdicts = append(a.Verdicts, ask(t))
	}
	if ap, err := netip.ParseAddrPort(c.Local); err == nil {
		a.Client = ap.Addr().Unmap()
	}
	a.checkInside(func() Verdict { return ask(control(n)) })
	return a
}

// ask makes one attempt at a try. After an error the connection is gone.
func (c *Client) ask(t Try) (Verdict, error) {
	if c.asked >= perConnection {
		c.Close()
	}
	if c.conn == nil {
		if err := c.connect(); err != nil {
			return Verdict{Result: Unclear}, err
		}
	}
	v, err := c.one(t)
	if c.asksForTLS(v) {
		c.wantTLS = true
		c.Close()
		if err = c.connect(); err == nil {
			v, err = c.one(t)
		}
	}
	if err != nil {
		c.drop()
	}
	return v, err
}

// asksForTLS: RFC 3207 4 gives 530 to those who must begin with STARTTLS.
func (c *Client) asksForTLS(v Verdict) bool {
	return !c.wantTLS && c.conn != nil && c.conn.TLS == nil && c.conn.Has("STARTTLS") && strings.HasPrefix(v.Reply, "530") && strings.Contains(strings.ToUpper(v.Reply), "STARTTLS")
}

// one asks one recipient. The error says that the conversation is over.
func (c *Client) one(t Try) (Verdict, error) {
	c.asked++
	v := Verdict{Stage: smtp.StageMail}
	reply, err := c.conn.Mail(t.From)
	if err == nil {
		v.Stage = smtp.StageRcpt
		reply, err = c.conn.Rcpt(t.To)
	}
	if err == nil && c.Deliver != "" && !elsewhere[t.Name] {
		v.Stage = smtp.StageData
		reply, err = c.conn.Data(message(t, c.Deliver))
		v.Sent = err == nil
	}
	v.Result, v.Reply = Accepted, reply.String()
	switch dial.Outcome(err) {
	case "":
	case dial.Permanent:
		v.Result = Refused
	case dial.Temporary:
		v.Result = Unclear
	default:
		v.Result = Unclear
		return v, err
	}
	if reply.Code == 421 { // the server says goodbye
		return v, err
	}
	_, err = c.conn.Rset()
	return v, err
}

// message says to whoever finds it in the mailbox by which try it came.
func message(t Try, to string) []byte {
	return smtp.TestMessage(to, to, "relay-test "+t.Name, "This message was sent by \"mailsrv relay-test --deliver\".\r\n\r\n"+
		"The server passed it on although nobody had logged in:\r\n\r\n  test       "+t.Name+"\r\n  MAIL FROM  <"+t.From+">\r\n  RCPT TO    <"+t.To+">\r\n")
}
