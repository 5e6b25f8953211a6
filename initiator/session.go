package initiator

const tagIndexBits = 10

// Session is a logged-in session.
type Session struct{}

func newSession(*Config, *loggedIn) *Session { return nil }
