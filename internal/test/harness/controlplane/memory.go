package controlplane

import (
	"errors"
	"os"
)

// generous are environment variables of Go programs: with them, one with a few hundred objects collects garbage a
// quarter as often, in up to a gigabyte.
var generous = map[string]string{"GOGC": "400", "GOMEMLIMIT": "1GiB"}

// start calls a function that starts etcd or kube-apiserver, with the variables that the options ask for. This process
// does not change: Go reads them only at its start. Another program that is started meanwhile may get them, too.
func (o Options) start(programs func() error) (err error) {
	if !o.SpendMemory {
		return programs()
	}
	for name, value := range generous {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Unsetenv(name)) }()
	}
	return programs()
}
