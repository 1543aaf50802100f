// Package e2e installs the operator on a real node, as a platform team does, and puts it through what happens to such
// an installation, while a workload that mounts its key calls an API through a proxy and never notices.
//
// make e2e runs it, inside cluster.sh. The tests are compiled only with the tag e2e.
package e2e
