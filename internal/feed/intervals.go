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
	// probeGap bounds what all replicas together write: one nonce in this time.
	probeGap = 200 * time.Millisecond
	// acknowledgementGap does so for nonces that tell the controller what it waits for.
	acknowledgementGap = 5 * time.Millisecond
	// acknowledgementShare is how many times as long as one of several changes takes to be written the next has to wait, up to
	// longestGap.
	acknowledgementShare = 4
	longestGap           = 250 * time.Millisecond
	// usualLists is how often tenants and policies are listed.
	usualLists = 5 * time.Second
	// listShare is how many times as long as the lists of tenants and policies take the next have to wait.
	listShare = 10
	// usualAudit is how often the index is held against a full list.
	usualAudit = 5 * time.Minute
	// auditShare is how many times as long as a full list takes the next has to wait.
	auditShare = 20
)

// intervals says how often things are done. The more replicas there are, the less often each writes; the shorter the bound, the
// more often it must.
type intervals struct {
	bound    time.Duration
	replicas atomic.Int64
}

// probes is how long from one proof to the next. A quarter of the bound lets two proofs fail before requests do.
func (p *intervals) probes() time.Duration {
	return min(max(usualInterval, p.allReplicas(probeGap)), p.bound/4)
}

// lists is how long from one list of tenants and policies to the next, if the last took so long. They prove the freshness of
// their streams as nonces do that of keys, but the tenants' ledgers are in them: where keys are many, those are megabytes, of
// which the API server makes many times as much garbage, and revocations wait for its collector. An eighth of the bound leaves time
// for one that fails. What happens to a tenant comes on its watch at once, whatever this is.
func (p *intervals) lists(took time.Duration) time.Duration {
	return max(min(usualLists, p.bound/8), min(listShare*took, p.bound/4))
}

// acknowledgements is how soon after one nonce, which took a while to write, the next may follow, where the controller waits
// for it. As long as there is one change at a time, each is acknowledged as it comes. Where one nonce was for several, the API
// server is busy with them: the busier it is, the more of what there is to acknowledge goes into the next.
func (p *intervals) acknowledgements(took time.Duration, changes int64) time.Duration {
	gap := p.allReplicas(acknowledgementGap) - took
	if changes > 1 {
		gap = max(gap, min(acknowledgementShare*took, longestGap))
	}
	return max(gap, 0)
}

// timeout is how long a proof may take.
func (p *intervals) timeout() time.Duration { return min(usualTimeout, p.bound/2) }

// probeContext returns a context for a proof, which ends with DeadlineExceeded as its cause when nothing has advanced for as long
// as patience: a long list over a slow line gets on for longer than that. After half the bound it ends in any case.
func (p *intervals) probeContext(ctx context.Context) (call context.Context, advances, end func()) {
	patience := p.timeout()
	ctx, cancel := context.WithTimeout(ctx, p.bound/2)
	call, giveUp := context.WithCancelCause(ctx)
	timer := time.AfterFunc(patience, func() { giveUp(context.DeadlineExceeded) })
	return call, func() { timer.Reset(patience) }, func() {
		timer.Stop()
		giveUp(nil)
		cancel()
	}
}

// audit is how long from one audit to the next, if the last one took so long. What a watch has lost without a trace is
// found within the bound, but where keys are so many that looking for it would be most of what the verifier does.
func (p *intervals) audit(every, took time.Duration) time.Duration {
	if every == 0 {
		every = min(usualAudit, p.bound/2)
	}
	return max(every, auditShare*took)
}

func (p *intervals) allReplicas(gap time.Duration) time.Duration {
	return gap * time.Duration(max(p.replicas.Load(), 1))
}
