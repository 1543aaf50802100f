package certificates

import (
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"time"
)

// Lifetimes say how long certificates are valid, and when they are replaced.
type Lifetimes struct {
	// Authority is how long an authority is valid. Successor is how long before its end the next authority is published.
	// Overlap is how long the next authority is published before it signs: clients that copy the bundle have that long to
	// copy it again.
	Authority, Successor, Overlap time.Duration
	// Serving is how long a server's certificate is valid, and Renewal how long before its end it is replaced.
	Serving, Renewal time.Duration
	// Settle is how long the previous authority stays in the bundle after the next one has signed its last certificate:
	// by then, pods have read their new certificate.
	Settle time.Duration
}

const day = 24 * time.Hour

// DefaultLifetimes are those of an installation.
var DefaultLifetimes = Lifetimes{
	Authority: 5 * 365 * day, Successor: 365 * day, Overlap: 30 * day,
	Serving: 90 * day, Renewal: 30 * day,
	Settle: day,
}

// authority is what the authority's Secret holds.
type authority struct {
	signing pair
	// fault is why signing cannot be read, or nil.
	fault error
	// next is the authority that will sign, or nil.
	next *pair
	// published is when next was first known to be in the bundle, or zero.
	published time.Time
	// previous are former authorities that may have signed certificates that are still in use.
	previous []*x509.Certificate
}

// bundle returns the authorities to trust.
func (a *authority) bundle() []byte {
	all := append([]*x509.Certificate{}, a.previous...)
	if a.signing.certificate != nil {
		all = append(all, a.signing.certificate)
	}
	if a.next != nil {
		all = append(all, a.next.certificate)
	}
	return encodeCertificates(all...)
}

// leaf is a server's certificate.
type leaf struct {
	// names are those by which the server is reached.
	names []string
	// foreign reports whether somebody else made the Secret.
	foreign bool
	// certificate is nil if there is none, or if it or its key cannot be read.
	certificate *x509.Certificate
}

// state is everything that the decision depends on.
type state struct {
	// authority is nil if there is none.
	authority *authority
	// bundle is what is published.
	bundle []byte
	// leaves has the servers' certificates, by the name of their Secret.
	leaves map[string]leaf
	// names are those that an authority has to be valid for, the namespace's first.
	names []string
}

// canSign reports whether the authority can sign for this namespace at all.
func (a *authority) canSign(now time.Time, names []string) bool {
	return a.fault == nil && now.Before(a.signing.certificate.NotAfter) && permits(a.signing.certificate, names[0])
}

// action is what to do next. Each action is one write.
type action string

const (
	create   action = "create"   // the first authority
	replace  action = "replace"  // an authority that cannot be read or has expired
	publish  action = "publish"  // the bundle
	announce action = "announce" // the next authority
	record   action = "record"   // that the next authority is published
	promote  action = "promote"  // the next authority signs
	issue    action = "issue"    // a server's certificate
	retire   action = "retire"   // authorities that signed no certificate still in use
	wait     action = "wait"
)

// step is an action. It names the server's Secret that the action is about, or, for wait, when the wait ends.
type step struct {
	action action
	secret string
	until  time.Time
}

// decide returns what to do next. It is pure, and decides from what there is, so a step that was cut off is decided
// again:
//
//	authority ─▶ bundle ─▶ certificates
//	   └─ near its end: next ─▶ bundle ─▶ recorded ─ Overlap ─▶ next signs ─▶ certificates ─ Settle ─▶ previous retired
//
// So at any moment, the published bundle has the authority of every certificate that is in use.
func decide(now time.Time, s *state, l Lifetimes) step {
	a := s.authority
	switch {
	case a == nil:
		return step{action: create}
	case !a.canSign(now, s.names) && a.next == nil:
		return step{action: replace}
	case string(s.bundle) != string(a.bundle()):
		return step{action: publish}
	case !a.canSign(now, s.names):
		return step{action: promote}
	}
	due := a.signing.certificate.NotAfter.Add(-l.Successor)
	switch {
	case a.next == nil && (!now.Before(due) || !permits(a.signing.certificate, s.names...)):
		return step{action: announce}
	case a.next != nil && a.published.IsZero():
		return step{action: record}
	case a.next != nil:
		if due = a.published.Add(l.Overlap); !now.Before(due) {
			return step{action: promote}
		}
	}
	return decideServing(now, s, l, due)
}

// decideServing returns what to do next about the servers' certificates, if the authority needs nothing before due.
func decideServing(now time.Time, s *state, l Lifetimes, due time.Time) step {
	var settled time.Time
	for _, secret := range sortedNames(s.leaves) {
		serving := s.leaves[secret]
		if serving.foreign {
			continue
		}
		renewal, ok := renewalTime(serving, s.authority.signing.certificate, l)
		if !ok || !now.Before(renewal) {
			return step{action: issue, secret: secret}
		}
		if renewal.Before(due) {
			due = renewal
		}
		if end := issuedTime(serving.certificate).Add(l.Settle); end.After(settled) {
			settled = end
		}
	}
	if len(s.authority.previous) > 0 {
		if !now.Before(settled) {
			return step{action: retire}
		}
		if settled.Before(due) {
			due = settled
		}
	}
	return step{action: wait, until: due}
}

// renewalTime reports whether a server has the certificate that it should have, and returns when that is replaced.
func renewalTime(serving leaf, signing *x509.Certificate, l Lifetimes) (renewal time.Time, ok bool) {
	c := serving.certificate
	if c == nil || !slices.Equal(c.DNSNames, permittedNames(signing, serving.names)) || !signedBy(c, signing) {
		return time.Time{}, false
	}
	renewal = c.NotAfter.Add(-l.Renewal)
	// A certificate that ends with its authority cannot be renewed for longer. The next authority signs well before.
	if c.NotAfter.Equal(signing.NotAfter) {
		renewal = c.NotAfter
	}
	return renewal, true
}

// permittedNames returns the names that an authority may sign for.
func permittedNames(signing *x509.Certificate, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !permits(signing, name) })
}

// permits reports whether an authority may sign for all of these names.
func permits(signing *x509.Certificate, names ...string) bool {
	for _, name := range names {
		if !slices.ContainsFunc(signing.PermittedDNSDomains, func(domain string) bool {
			return name == domain || strings.HasSuffix(name, "."+domain)
		}) {
			return false
		}
	}
	return true
}

func sortedNames[T any](of map[string]T) []string { return slices.Sorted(maps.Keys(of)) }
