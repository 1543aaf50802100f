package console

import (
	"sync"
	"time"
)

// maxSignOuts is how many sessions that were signed out of are remembered. Beyond it they are all forgotten, and every session that began
// before is refused: it takes less memory, and lets nobody in.
const maxSignOuts = 50_000

// signOuts are the sessions that somebody has signed out of, for as long as their cookies would otherwise open the page. A session that
// began before since is refused too: what was signed out of by then may not be known here.
type signOuts struct {
	mu    sync.Mutex
	since time.Time
	// floor is below what since does not go again: from before it, endings were forgotten.
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

// add remembers that somebody has signed out of a session.
func (e *signOuts) add(ended signOut, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(ended, now)
}

// put forgets all others where there is no room for one more. Then since is now, and floor keeps it from going back.
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

// merge takes over what another replica knows: all that was signed out of since a time, which this one then knows too.
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

// list returns what is known, for another replica.
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

// tidy forgets the sessions that have ended by themselves.
func (e *signOuts) tidy(now time.Time) {
	for id, until := range e.until {
		if !now.Before(until) {
			delete(e.until, id)
		}
	}
}

// signOutList is what one replica tells another.
type signOutList struct {
	Since time.Time `json:"since"`
	Ended []signOut `json:"ended"`
}

// signOut is a session that somebody has signed out of, and when it would have ended by itself.
type signOut struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
}
