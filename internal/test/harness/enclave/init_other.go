//go:build !linux

package enclave

import "errors"

// run reports that there are no enclaves: need.Namespaces is missing on such a machine.
func run(string) (int, error) { return 0, errors.New("there are namespaces on Linux only") }
