package certificates

import (
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"time"
)

// Lifetimes say how long certificates are good for, and when they are replaced.
type Lifetimes struct {
	// Authority is how long an authority is valid. Its successor is published Successor before its end, and signs once it has
	// been published for Overlap: clients that copy the bundle have that long to copy it again.
	Authority, Successor, Overlap time.Duration
	// Serving is how long a server's certificate is valid. It is replaced Renewal before its end.
	Serving, Renewal time.Duration
	// Settle is how long after the last certificate by a new authority its predecessor leaves the bundle: pods have read their
	// new certificate by then.
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
	// fault is why signing can't sign: it can't be read.
	fault error
	// next is the authority that will sign, nil for none.
	next *pair
	// published is when next was known to be in the bundle, zero for not yet.
	published time.Time
	// previous are those that signed before, and that certificates in use may be by.
	previous []*x509.Certificate
}

// bundle are the authorities to trust.
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
	// names are those of the server.
	names []string
	// foreign is a Secret that somebody else made.
	foreign bool
	// certificate is nil where there is none, or where it and its key can't be read.
	certificate *x509.Certificate
}

// state is what there is.
type state struct {
	// authority is nil where there is none.
	authority *authority
	// bundle is what is published.
	bundle []byte
	leaves map[string]leaf
	// names are those that an authority has to be good for, the namespace's first.
	names []string
}

// canSign reports whether the authority can sign for this namespace at all.
func (a *authority) canSign(now time.Time, names []string) bool {
	return a.fault == nil && now.Before(a.signing.certificate.NotAfter) && permits(a.signing.certificate, names[0])
}

// action is what is to be done next. Each is one write.
type action string

const (
	create   action = "create"   // the first authority
	replace  action = "replace"  // one that can't be read or has expired
	publish  action = "publish"  // the bundle
	announce action = "announce" // the next authority
	note     action = "note"     // that the next authority is published
	promote  action = "promote"  // the next authority signs
	issue    action = "issue"    // a server's certificate
	retire   action = "retire"   // authorities that no certificate in use is by
	wait     action = "wait"
)

// step is what to do, and for which server's certificate, or when to look again.
type step struct {
	action action
	secret string
	until  time.Time
}

// decide says what to do next. Whatever was cut off before is decided anew from what there is:
//
//	authority ─▶ bundle ─▶ certificates
//	   └─ near its end: next ─▶ bundle ─▶ noted ── Overlap ──▶ next signs ─▶ certificates ── Settle ──▶ previous leaves the bundle
//
// So at any moment the published bundle has the authority of every certificate that is in use.
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
		return step{action: note}
	case a.next != nil:
		if due = a.published.Add(l.Overlap); !now.Before(due) {
			return step{action: promote}
		}
	}
	return decideServing(now, s, l, due)
}

// decideServing does so once the authority is as it should be until a time.
func decideServing(now time.Time, s *state, l Lifetimes, due time.Time) step {
	var settled time.Time
	for _, secret := range sortedNames(s.leaves) {
		leaf := s.leaves[secret]
		if leaf.foreign {
			continue
		}
		renewal, ok := good(leaf, s.authority.signing.certificate, l)
		if !ok || !now.Before(renewal) {
			return step{action: issue, secret: secret}
		}
		if renewal.Before(due) {
			due = renewal
		}
		if end := issuedTime(leaf.certificate).Add(l.Settle); end.After(settled) {
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

// good reports whether a server's certificate is the one that it should have, and until when.
func good(leaf leaf, signing *x509.Certificate, l Lifetimes) (renewal time.Time, ok bool) {
	c := leaf.certificate
	if c == nil || !slices.Equal(c.DNSNames, permitted(signing, leaf.names)) || !signedBy(c, signing) {
		return time.Time{}, false
	}
	renewal = c.NotAfter.Add(-l.Renewal)
	// One that ends with its authority can't be renewed for longer. Its successor signs well before.
	if c.NotAfter.Equal(signing.NotAfter) {
		renewal = c.NotAfter
	}
	return renewal, true
}

// permitted are the names that an authority may sign for.
func permitted(authority *x509.Certificate, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !permits(authority, name) })
}

// permits reports whether an authority may sign for all of these names.
func permits(authority *x509.Certificate, names ...string) bool {
	for _, name := range names {
		if !slices.ContainsFunc(authority.PermittedDNSDomains, func(domain string) bool {
			return name == domain || strings.HasSuffix(name, "."+domain)
		}) {
			return false
		}
	}
	return true
}

func sortedNames[T any](of map[string]T) []string { return slices.Sorted(maps.Keys(of)) }
