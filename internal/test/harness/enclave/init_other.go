//go:build !linux

package enclave

import "errors"

// run reports that there are no enclaves: need.Namespaces is missing on such a machine.
func run(string) error { return errors.New("only Linux has namespaces") }
