package conformance_test

import (
	"fmt"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// hosts are questions about which API a request is for. That it reaches no other API's upstream is checked for every
// request, by subject.checkUpstream.
var hosts = []row{
	{"a host that nothing is configured for", func(s *subject) string {
		a := s.ask(head(append([]string{"GET /api/products HTTP/1.1", "Host: nobody.example.com"},
			s.credentials("reader")...)...))
		s.mustNotPass("a host that nothing is configured for", a)
		return a.code()
	}},
	{"the request line names one host, `Host` another", func(s *subject) string {
		return s.twoHosts(
			head("GET http://"+openHost+"/api/products HTTP/1.1", "Host: "+adminHost),
			head("GET http://"+adminHost+"/api/products HTTP/1.1", "Host: "+openHost))
	}},
	{"two `Host`", func(s *subject) string {
		return s.twoHosts(
			head("GET /api/products HTTP/1.1", "Host: "+openHost, "Host: "+adminHost),
			head("GET /api/products HTTP/1.1", "Host: "+adminHost, "Host: "+openHost))
	}},
}

// twoHosts sends two requests that name a host which is open to anybody and one which is not: the open one first, and
// second. Neither may reach the upstream of the host that is not open.
func (s *subject) twoHosts(openFirst, openSecond string) string {
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

// reached returns the name of the site whose upstream a request has reached.
func reached(r *proxies.Received) string {
	if r.Site == nil {
		return ""
	}
	return r.Site.Name
}
