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
	names   = []string{
		"apikey-verifier", "apikey-verifier.apikey-system", "apikey-verifier.apikey-system.svc",
		"apikey-verifier.apikey-system.svc.cluster.local",
	}
)

// authorityAt returns an authority that was made at a time, for domains if no other names are given.
func authorityAt(t *testing.T, at time.Time, validFor ...string) pair {
	t.Helper()
	if validFor == nil {
		validFor = domains
	}
	p, err := newAuthority(validFor, at, DefaultLifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// servingBy returns a server's certificate that an authority issued at a time.
func servingBy(t *testing.T, issuer pair, at time.Time, dnsNames ...string) *x509.Certificate {
	t.Helper()
	p, err := newServing(issuer, dnsNames, at, DefaultLifetimes.Serving)
	if err != nil {
		t.Fatal(err)
	}
	return p.certificate
}

// TestDecide checks each decision from the state in which whatever came before it was cut off.
func TestDecide(t *testing.T) {
	l := DefaultLifetimes
	first, second := authorityAt(t, start), authorityAt(t, start.Add(l.Authority-l.Successor))
	end, handover := first.certificate.NotAfter, issuedTime(second.certificate)
	renewal, overlapped, settled := start.Add(l.Serving-l.Renewal), handover.Add(l.Overlap), handover.Add(l.Settle)

	none, onlyFirst := &authority{}, &authority{signing: first}
	successor := &authority{signing: first, next: &second}
	recorded := &authority{signing: first, next: &second, published: handover}
	promoted := &authority{signing: second, previous: certificates(first)}

	serving := func(certificate *x509.Certificate) map[string]leaf {
		return map[string]leaf{"tls": {names: names, certificate: certificate}}
	}
	issued := serving(servingBy(t, first, start, names...))
	renewed := serving(servingBy(t, first, handover, names...))
	byNext := serving(servingBy(t, second, handover, names...))
	byOther := serving(servingBy(t, authorityAt(t, start), start, names...))
	lacksName := serving(servingBy(t, first, start, names[:3]...))
	foreign := map[string]leaf{"tls": {names: names, foreign: true}}

	do := func(a action) step { return step{action: a} }
	waitUntil := func(at time.Time) step { return step{action: wait, until: at} }
	issueServing := step{action: issue, secret: "tls"}

	for name, test := range map[string]struct {
		at        time.Time
		authority *authority
		// published is whose bundle is published; nil is the authority's own.
		published *authority
		leaves    map[string]leaf
		want      step
	}{
		"nothing":                    {start, nil, nil, serving(nil), do(create)},
		"not published":              {start, onlyFirst, none, serving(nil), do(publish)},
		"published":                  {start, onlyFirst, nil, serving(nil), issueServing},
		"an older bundle":            {start, successor, onlyFirst, serving(nil), do(publish)},
		"issued":                     {start, onlyFirst, nil, issued, waitUntil(renewal)},
		"just before renewal":        {renewal.Add(-1), onlyFirst, nil, issued, waitUntil(renewal)},
		"renewal":                    {renewal, onlyFirst, nil, issued, issueServing},
		"by another authority":       {start, onlyFirst, nil, byOther, issueServing},
		"other names":                {start, onlyFirst, nil, lacksName, issueServing},
		"somebody else's":            {start, onlyFirst, nil, foreign, waitUntil(handover)},
		"near the authority's end":   {handover, onlyFirst, nil, issued, do(announce)},
		"made and not published":     {handover, successor, onlyFirst, issued, do(publish)},
		"published and not recorded": {overlapped, successor, nil, issued, do(record)},
		"recorded":                   {handover, recorded, nil, renewed, waitUntil(overlapped)},
		"published for long enough":  {overlapped, recorded, nil, issued, do(promote)},
		"promoted":                   {overlapped, promoted, nil, issued, issueServing},
		"promoted and issued":        {handover, promoted, nil, byNext, waitUntil(settled)},
		"settled":                    {settled, promoted, nil, byNext, do(retire)},
		"unreadable":                 {start, &authority{fault: errForeign}, nil, issued, do(replace)},
		"unreadable, with a next":    {start, &authority{fault: errForeign, next: &second}, nil, issued, do(promote)},
		"expired":                    {end, onlyFirst, nil, issued, do(replace)},
		"expired, next unpublished":  {end, successor, none, issued, do(publish)},
		"another namespace's": {
			start, &authority{signing: authorityAt(t, start, "other.svc")}, nil, serving(nil), do(replace),
		},
		"not for a new server's name": {
			start, &authority{signing: authorityAt(t, start, domains[:3]...)}, nil, issued, do(announce),
		},
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
			got := decide(test.at, s, l)
			if got.action != test.want.action || got.secret != test.want.secret || !got.until.Equal(test.want.until) {
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

// TestAuthorityIsForItsNamespaceOnly checks that nothing which a stolen key signs is valid for another server.
func TestAuthorityIsForItsNamespaceOnly(t *testing.T) {
	stolen := authorityAt(t, start)
	if !stolen.certificate.PermittedDNSDomainsCritical {
		t.Error("a client that doesn't know name constraints accepts any name (RFC 5280 section 4.2.1.10)")
	}
	roots := x509.NewCertPool()
	roots.AddCert(stolen.certificate)
	for name, valid := range map[string]bool{
		"apikey-verifier":                                 true,
		"apikey-verifier.apikey-system.svc":               true,
		"apikey-verifier.apikey-system.svc.cluster.local": true,
		"new.apikey-system.svc":                           true,
		"kubernetes.default.svc":                          false,
		"your-nexuscommerce.com":                          false,
		"svc":                                             false,
		"apikey-system.svc.example.com":                   false,
		"notapikey-system.svc":                            false,
		"203.0.113.7":                                     false,
	} {
		certificate := servingBy(t, stolen, start, name)
		_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: start})
		if (err == nil) != valid {
			t.Errorf("%s: %v", name, err)
		}
	}
	client, server := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for name, template := range map[string]*x509.Certificate{
		"a client":   {DNSNames: names, ExtKeyUsage: client},
		"an address": {IPAddresses: []net.IP{net.IPv4(203, 0, 113, 7)}, ExtKeyUsage: server},
		"IPv6":       {IPAddresses: []net.IP{net.ParseIP("2001:db8::7")}, ExtKeyUsage: server},
	} {
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(7), start, start.Add(time.Hour)
		forged, err := sign(template, stolen.certificate, stolen.key, stolen.key)
		if err != nil {
			t.Fatal(err)
		}
		options := x509.VerifyOptions{Roots: roots, CurrentTime: start, KeyUsages: template.ExtKeyUsage}
		if _, err := forged.certificate.Verify(options); err == nil {
			t.Errorf("a certificate for %s is valid", name)
		}
	}
	below, err := newAuthority(domains, start, DefaultLifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	template := *below.certificate
	template.AuthorityKeyId = nil
	between, err := sign(&template, stolen.certificate, below.key, stolen.key)
	if err != nil {
		t.Fatal(err)
	}
	intermediates := x509.NewCertPool()
	intermediates.AddCert(between.certificate)
	options := x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: start}
	if _, err := servingBy(t, between, start, names...).Verify(options); err == nil {
		t.Error("an authority below it is valid")
	}
}
