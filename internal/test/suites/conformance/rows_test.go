package conformance_test

import "slices"

// row is a question to each set-up.
type row struct {
	question string
	// ask returns the cell. It records a fault if something is violated that must hold for every proxy.
	ask func(s *subject) string
}

// The questions whose rows must notice mutants.
const (
	tokenQuestion   = "the token reaches the upstream"
	forgedQuestion  = "identity headers that a client writes"
	aliasQuestion   = "the same with underscores, `X_Api_Key_Id`"
	addressQuestion = "`allowedCIDRs`, where clients connect to the proxy itself"
	largestQuestion = "the largest identity: 64 scopes of 128 characters, the longest names"
	stoppedQuestion = "the verifier is stopped"
)

// notRun is the cell for what no test has tried.
const notRun = "not run"

// rowOf returns the row of a question.
func rowOf(question string) row {
	all := rows()
	return all[slices.IndexFunc(all, func(r row) bool { return r.question == question })]
}

// rows returns all rows, in the order in which they are tested: those that leave a proxy without a verifier come last.
func rows() (all []row) {
	groups := [][]row{passing, upstreamHeaders, refusalRows(), addresses, forms, calls, limits, hosts, outages}
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}
