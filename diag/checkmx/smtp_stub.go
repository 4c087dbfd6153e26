package checkmx

type smtpFlight struct{}
