package limit

// WithNow makes a listener take the time from a function.
func WithNow(clock func() int64) Option { return func(l *Listener) { l.now = clock } }
