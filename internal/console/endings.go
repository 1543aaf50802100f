package console

import (
	"sync"
	"time"
)

// maxEndings is how many sessions that were signed out of are remembered. Beyond it they are all forgotten, and every session that began
// before is refused: it takes less memory, and lets nobody in.
const maxEndings = 50_000

// endings are the sessions that somebody has signed out of, for as long as their cookies would otherwise open the page. A session that
// began before since is refused too: what was signed out of by then may not be known here.
type endings struct {
	mu    sync.Mutex
	since time.Time
	// floor is below what since does not go again: from before it, endings were forgotten.
	floor time.Time
	until map[string]time.Time
}

func newEndings(now time.Time) *endings { return &endings{since: now, until: map[string]time.Time{}} }

// over reports whether a session is refused.
func (e *endings) over(s *session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ended := e.until[s.ID]
	return ended || s.Begun.Before(e.since)
}

// add remembers that somebody has signed out of a session.
func (e *endings) add(ended ending, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(ended, now)
}

// put reports whether nothing was forgotten for it.
func (e *endings) put(ended ending, now time.Time) (complete bool) {
	if _, known := e.until[ended.ID]; known || !now.Before(ended.Until) {
		return true
	}
	if len(e.until) >= maxEndings {
		e.tidy(now)
	}
	if complete = len(e.until) < maxEndings; !complete {
		clear(e.until)
		e.since, e.floor = now, now
	}
	e.until[ended.ID] = ended.Until
	return complete
}

// merge takes over what another replica knows: all that was signed out of since a time, which this one then knows too.
func (e *endings) merge(other *endingsList, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	complete := true
	for _, ended := range other.Ended {
		complete = e.put(ended, now) && complete
	}
	if complete && other.Since.Before(e.since) {
		e.since = other.Since
		if e.since.Before(e.floor) {
			e.since = e.floor
		}
	}
}

// list returns what is known, for another replica.
func (e *endings) list(now time.Time) *endingsList {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tidy(now)
	all := &endingsList{Since: e.since, Ended: make([]ending, 0, len(e.until))}
	for id, until := range e.until {
		all.Ended = append(all.Ended, ending{ID: id, Until: until})
	}
	return all
}

// tidy forgets the sessions that have ended by themselves.
func (e *endings) tidy(now time.Time) {
	for id, until := range e.until {
		if !now.Before(until) {
			delete(e.until, id)
		}
	}
}

// endingsList is what one replica tells another.
type endingsList struct {
	Since time.Time `json:"since"`
	Ended []ending  `json:"ended"`
}

// ending is a session that somebody has signed out of, and when it would have ended by itself.
type ending struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
}
