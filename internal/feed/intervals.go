package feed

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// usualInterval is how often freshness is proved.
	usualInterval = 2 * time.Second
	// usualTimeout is how long a proof may take before the connection is given up.
	usualTimeout = 5 * time.Second
	// probeGap limits the writes of all replicas together to one nonce in this time.
	probeGap = 200 * time.Millisecond
	// acknowledgementGap is the same limit for nonces that the controller waits for.
	acknowledgementGap = 5 * time.Millisecond
	// acknowledgementShare is the pause after a nonce for several changes, as a multiple of the time that writing it took.
	// The pause is at most longestGap.
	acknowledgementShare = 4
	longestGap           = 250 * time.Millisecond
	// usualLists is how often tenants and policies are listed.
	usualLists = 5 * time.Second
	// listShare is the pause after the lists of tenants and policies, as a multiple of the time that they took.
	listShare = 10
	// usualAudit is how often the index is compared with a full list.
	usualAudit = 5 * time.Minute
	// auditShare is the pause after an audit, as a multiple of the time that its list took.
	auditShare = 20
)

// intervals computes how often the feed does things. With more replicas each of them writes less often; with a shorter
// bound, more often.
type intervals struct {
	bound    time.Duration
	replicas atomic.Int64
}

// probes returns the time from one proof to the next. A quarter of the bound lets two proofs fail before requests do.
func (p *intervals) probes() time.Duration {
	return min(max(usualInterval, p.allReplicas(probeGap)), p.bound/4)
}

// lists returns the time from one list of tenants and policies to the next, given how long the last one took. The lists
// prove the freshness of their streams, as nonces do for keys. But they contain the tenants' ledgers, which with many
// keys are megabytes. The API server makes many times as much garbage of them, and its garbage collector delays
// revocations. An eighth of the bound leaves time for a list that fails. Changes of tenants arrive on the watch at
// once, whatever this interval is.
func (p *intervals) lists(took time.Duration) time.Duration {
	return max(min(usualLists, p.bound/8), min(listShare*took, p.bound/4))
}

// acknowledgements returns how long to pause after a nonce that the controller has waited for, given how long it took
// to write and how many changes it acknowledged. A single change is acknowledged at once. If there were several, the
// API server is busy with them; the busier it is, the more changes the next nonce acknowledges together.
func (p *intervals) acknowledgements(took time.Duration, changes int64) time.Duration {
	gap := p.allReplicas(acknowledgementGap) - took
	if changes > 1 {
		gap = max(gap, min(acknowledgementShare*took, longestGap))
	}
	return max(gap, 0)
}

// timeout returns how long a proof may take.
func (p *intervals) timeout() time.Duration { return min(usualTimeout, p.bound/2) }

// probeContext returns a context for a proof. It ends, with DeadlineExceeded as its cause, once progress has not been
// called for as long as the timeout: a long list over a slow connection may take longer in total. It ends after half
// the bound in any case.
func (p *intervals) probeContext(ctx context.Context) (call context.Context, progress, end func()) {
	timeout := p.timeout()
	ctx, cancel := context.WithTimeout(ctx, p.bound/2)
	call, giveUp := context.WithCancelCause(ctx)
	timer := time.AfterFunc(timeout, func() { giveUp(context.DeadlineExceeded) })
	return call, func() { timer.Reset(timeout) }, func() {
		timer.Stop()
		giveUp(nil)
		cancel()
	}
}

// audit returns the time from one audit to the next, given how long the list of the last one took. An event that a
// watch has lost is found within the bound, unless there are so many keys that audits would take most of the verifier's
// time.
func (p *intervals) audit(every, took time.Duration) time.Duration {
	if every == 0 {
		every = min(usualAudit, p.bound/2)
	}
	return max(every, auditShare*took)
}

// allReplicas returns the gap between the writes of one replica, given that between the writes of all of them.
func (p *intervals) allReplicas(gap time.Duration) time.Duration {
	return gap * time.Duration(max(p.replicas.Load(), 1))
}
