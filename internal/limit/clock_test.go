package limit

// SetNow has a listener take the time from a function. It is for before the first connection.
func (l *Listener) SetNow(now func() int64) { l.now = now }
