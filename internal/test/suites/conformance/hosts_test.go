package conformance_test

import (
	"fmt"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// hosts are about which API a request is for. That it reaches no other's upstream holds for every request:
// session.checkUpstream.
var hosts = []row{
	{"a host that nothing is configured for", func(s *session) string {
		a := s.ask(head(append([]string{"GET /api/products HTTP/1.1", "Host: nobody.example.com"},
			s.credentials("reader")...)...))
		s.mustNotPass("a host that nothing is configured for", a)
		return a.code()
	}},
	{"the request line names one host, `Host` another", func(s *session) string {
		return s.twoHosts(
			head("GET http://"+openHost+"/api/products HTTP/1.1", "Host: "+adminHost),
			head("GET http://"+adminHost+"/api/products HTTP/1.1", "Host: "+openHost))
	}},
	{"two `Host`", func(s *session) string {
		return s.twoHosts(
			head("GET /api/products HTTP/1.1", "Host: "+openHost, "Host: "+adminHost),
			head("GET /api/products HTTP/1.1", "Host: "+adminHost, "Host: "+openHost))
	}},
}

// twoHosts sends a request that names a host that is open to anybody first, and one that names it second. Whatever the
// proxy makes of them, the upstream of the other host gets none.
func (s *session) twoHosts(openFirst, openSecond string) string {
	var cells []string
	for _, request := range []string{openFirst, openSecond} {
		a := s.ask(request)
		for _, r := range a.upstream {
			if reached(r) == "admin" {
				s.fault("a request without a key that names two hosts reaches the upstream of %s: %q", adminHost, r.Head)
			}
		}
		cells = append(cells, a.code())
	}
	switch {
	case cells[0] == cells[1]:
		return cells[0]
	case cells[0] == "200":
		return "the first counts"
	case cells[1] == "200":
		return "the second counts"
	default:
		return fmt.Sprintf("%s, %s", cells[0], cells[1])
	}
}

// reached is the name of the site whose upstream a request has reached.
func reached(r *proxies.Received) string {
	if r.Site == nil {
		return ""
	}
	return r.Site.Name
}
