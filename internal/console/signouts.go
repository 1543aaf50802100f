package console

import (
	"sync"
	"time"
)

// maxSignOuts bounds how many ended sessions are remembered. When there are more, all are forgotten, and every session
// that began before is refused: that needs no memory, and lets nobody in.
const maxSignOuts = 50_000

// signOuts remembers the sessions that users have signed out of, for as long as their cookies would otherwise be valid.
// A session that began before since is refused too: sign-outs before that time may not be known here.
type signOuts struct {
	mu    sync.Mutex
	since time.Time
	// floor is the earliest time that since may be set back to: sign-outs before it were forgotten.
	floor time.Time
	until map[string]time.Time
}

func newSignOuts(now time.Time) *signOuts {
	return &signOuts{since: now, until: map[string]time.Time{}}
}

// ended reports whether a session is refused.
func (e *signOuts) ended(s *session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ended := e.until[s.ID]
	return ended || s.Begun.Before(e.since)
}

// add remembers a sign-out.
func (e *signOuts) add(ended signOut, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(ended, now)
}

// put remembers a sign-out. It forgets all others if there is no room for one more: then since is now, and floor keeps
// it from going back.
func (e *signOuts) put(ended signOut, now time.Time) {
	if _, known := e.until[ended.ID]; known || !now.Before(ended.Until) {
		return
	}
	if len(e.until) >= maxSignOuts {
		e.tidy(now)
	}
	if len(e.until) >= maxSignOuts {
		clear(e.until)
		e.since, e.floor = now, now
	}
	e.until[ended.ID] = ended.Until
}

// merge takes over another replica's sign-outs since a time.
func (e *signOuts) merge(other *signOutList, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ended := range other.Ended {
		e.put(ended, now)
	}
	if other.Since.Before(e.since) {
		e.since = other.Since
		if e.since.Before(e.floor) {
			e.since = e.floor
		}
	}
}

// list returns the known sign-outs, for another replica.
func (e *signOuts) list(now time.Time) *signOutList {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tidy(now)
	all := &signOutList{Since: e.since, Ended: make([]signOut, 0, len(e.until))}
	for id, until := range e.until {
		all.Ended = append(all.Ended, signOut{ID: id, Until: until})
	}
	return all
}

// tidy forgets the sessions that have expired since.
func (e *signOuts) tidy(now time.Time) {
	for id, until := range e.until {
		if !now.Before(until) {
			delete(e.until, id)
		}
	}
}

// signOutList is what one replica tells another: its sign-outs since a time.
type signOutList struct {
	Since time.Time `json:"since"`
	Ended []signOut `json:"ended"`
}

// signOut is a session that a user has signed out of, and when it would have expired.
type signOut struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
}
