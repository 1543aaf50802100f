// Package e2e installs the operator on a real node, as a platform team does, and does to it what happens to such an
// installation: a workload mounts its key and calls an API through a proxy, and never notices.
//
// make e2e runs it, inside of cluster.sh. The tests are compiled with the tag e2e only.
package e2e
