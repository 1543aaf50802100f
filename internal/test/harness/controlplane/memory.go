package controlplane

import "os"

// generous are environment variables of Go programs: with them, one with a few hundred objects collects garbage a
// quarter as often, in up to a gigabyte.
var generous = map[string]string{"GOGC": "400", "GOMEMLIMIT": "1GiB"}

// start calls a function that starts etcd or kube-apiserver, with the variables unless the options say otherwise. Go
// reads them only when a program starts, so this process stays as it is. Another program that is started meanwhile may
// get them.
func (o Options) start(programs func() error) error {
	if o.SaveMemory {
		return programs()
	}
	restore := setenv(generous)
	defer restore()
	return programs()
}

// setenv sets environment variables that are not set yet, and returns a function that removes them.
func setenv(variables map[string]string) (restore func()) {
	var names []string
	for name, value := range variables {
		if _, set := os.LookupEnv(name); !set && os.Setenv(name, value) == nil {
			names = append(names, name)
		}
	}
	return func() {
		for _, name := range names {
			_ = os.Unsetenv(name) // It fails for no name that could be set.
		}
	}
}
