package certificates

import (
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

var (
	start   = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	domains = []string{"apikey-system.svc", "apikey-system.svc.cluster.local", "apikey-system", "apikey-verifier"}
	names   = []string{"apikey-verifier", "apikey-verifier.apikey-system", "apikey-verifier.apikey-system.svc", "apikey-verifier.apikey-system.svc.cluster.local"}
)

func made(t *testing.T, at time.Time, permitted ...string) pair {
	t.Helper()
	if permitted == nil {
		permitted = domains
	}
	p, err := newAuthority(permitted, at, DefaultLifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func served(t *testing.T, by pair, at time.Time, names ...string) *x509.Certificate {
	t.Helper()
	p, err := newServing(by, names, at, DefaultLifetimes.Serving)
	if err != nil {
		t.Fatal(err)
	}
	return p.certificate
}

// TestDecide checks each decision from the state in which whatever came before it was cut off.
func TestDecide(t *testing.T) {
	l := DefaultLifetimes
	first, second := made(t, start), made(t, start.Add(l.Authority-l.Successor))
	handover := issuedTime(second.certificate)
	leaves := func(certificate *x509.Certificate) map[string]leaf {
		return map[string]leaf{"tls": {names: names, certificate: certificate}}
	}
	settledLeaf := served(t, first, start, names...)
	for name, test := range map[string]struct {
		at        time.Time
		authority *authority
		// published is what the bundle is of; nil for the authority's own.
		published *authority
		leaves    map[string]leaf
		want      step
	}{
		"nothing":                    {start, nil, nil, leaves(nil), step{action: create}},
		"not published":              {start, &authority{signing: first}, &authority{}, leaves(nil), step{action: publish}},
		"published":                  {start, &authority{signing: first}, nil, leaves(nil), step{action: issue, secret: "tls"}},
		"an older bundle":            {start, &authority{signing: first, next: &second}, &authority{signing: first}, leaves(nil), step{action: publish}},
		"issued":                     {start, &authority{signing: first}, nil, leaves(settledLeaf), step{action: wait, until: start.Add(l.Serving - l.Renewal)}},
		"just before renewal":        {start.Add(l.Serving - l.Renewal - 1), &authority{signing: first}, nil, leaves(settledLeaf), step{action: wait, until: start.Add(l.Serving - l.Renewal)}},
		"renewal":                    {start.Add(l.Serving - l.Renewal), &authority{signing: first}, nil, leaves(settledLeaf), step{action: issue, secret: "tls"}},
		"by another authority":       {start, &authority{signing: first}, nil, leaves(served(t, made(t, start), start, names...)), step{action: issue, secret: "tls"}},
		"other names":                {start, &authority{signing: first}, nil, leaves(served(t, first, start, names[:3]...)), step{action: issue, secret: "tls"}},
		"somebody else's":            {start, &authority{signing: first}, nil, map[string]leaf{"tls": {names: names, foreign: true}}, step{action: wait, until: handover}},
		"near the authority's end":   {handover, &authority{signing: first}, nil, leaves(settledLeaf), step{action: announce}},
		"made and not published":     {handover, &authority{signing: first, next: &second}, &authority{signing: first}, leaves(settledLeaf), step{action: publish}},
		"published and not noted":    {handover.Add(l.Overlap), &authority{signing: first, next: &second}, nil, leaves(settledLeaf), step{action: note}},
		"noted":                      {handover, &authority{signing: first, next: &second, published: handover}, nil, leaves(served(t, first, handover, names...)), step{action: wait, until: handover.Add(l.Overlap)}},
		"published for long enough":  {handover.Add(l.Overlap), &authority{signing: first, next: &second, published: handover}, nil, leaves(settledLeaf), step{action: promote}},
		"promoted":                   {handover.Add(l.Overlap), &authority{signing: second, previous: certificates(first)}, nil, leaves(settledLeaf), step{action: issue, secret: "tls"}},
		"promoted and issued":        {handover, &authority{signing: second, previous: certificates(first)}, nil, leaves(served(t, second, handover, names...)), step{action: wait, until: handover.Add(l.Settle)}},
		"settled":                    {handover.Add(l.Settle), &authority{signing: second, previous: certificates(first)}, nil, leaves(served(t, second, handover, names...)), step{action: retire}},
		"unreadable":                 {start, &authority{fault: errForeign}, nil, leaves(settledLeaf), step{action: replace}},
		"unreadable, a next is here": {start, &authority{fault: errForeign, next: &second}, nil, leaves(settledLeaf), step{action: promote}},
		"expired":                    {first.certificate.NotAfter, &authority{signing: first}, nil, leaves(settledLeaf), step{action: replace}},
		"expired, next unpublished":  {first.certificate.NotAfter, &authority{signing: first, next: &second}, &authority{}, leaves(settledLeaf), step{action: publish}},
		"another namespace's":        {start, &authority{signing: made(t, start, "other.svc")}, nil, leaves(nil), step{action: replace}},
		"lacks a new server's name":  {start, &authority{signing: made(t, start, domains[:3]...)}, nil, leaves(settledLeaf), step{action: announce}},
	} {
		t.Run(name, func(t *testing.T) {
			published := test.published
			if published == nil {
				published = test.authority
			}
			s := &state{authority: test.authority, leaves: test.leaves, names: domains}
			if published != nil {
				s.bundle = published.bundle()
			}
			if got := decide(test.at, s, l); got.action != test.want.action || got.secret != test.want.secret || !got.until.Equal(test.want.until) {
				t.Errorf("decided %+v, want %+v", got, test.want)
			}
		})
	}
}

func certificates(pairs ...pair) []*x509.Certificate {
	var all []*x509.Certificate
	for _, p := range pairs {
		all = append(all, p.certificate)
	}
	return all
}

// TestAuthorityIsForItsNamespaceOnly checks what can be signed with a stolen key: nothing that a client takes for another server.
func TestAuthorityIsForItsNamespaceOnly(t *testing.T) {
	authority := made(t, start)
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	for name, good := range map[string]bool{
		"apikey-verifier": true, "apikey-verifier.apikey-system.svc": true, "apikey-verifier.apikey-system.svc.cluster.local": true,
		"new.apikey-system.svc": true, "kubernetes.default.svc": false, "your-nexuscommerce.com": false, "svc": false,
		"apikey-system.svc.example.com": false, "notapikey-system.svc": false, "203.0.113.7": false,
	} {
		certificate := served(t, authority, start, name)
		_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: start})
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, template := range map[string]*x509.Certificate{
		"a client":   {DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
		"an address": {IPAddresses: []net.IP{net.IPv4(203, 0, 113, 7)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		"IPv6":       {IPAddresses: []net.IP{net.ParseIP("2001:db8::7")}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
	} {
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(7), start, start.Add(time.Hour)
		forged, err := sign(template, authority.certificate, authority.key, authority.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := forged.certificate.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: start, KeyUsages: template.ExtKeyUsage}); err == nil {
			t.Errorf("a certificate for %s is good", name)
		}
	}
	below, err := newAuthority(domains, start, DefaultLifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	template := *below.certificate
	template.AuthorityKeyId = nil
	between, err := sign(&template, authority.certificate, below.key, authority.key)
	if err != nil {
		t.Fatal(err)
	}
	others := x509.NewCertPool()
	others.AddCert(between.certificate)
	if _, err := served(t, between, start, names...).Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, CurrentTime: start}); err == nil {
		t.Error("an authority below it is good")
	}
}
