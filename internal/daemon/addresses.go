package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Address is the value of a flag that sets where something listens. "0" means nowhere.
type Address struct{ Flag, Value string }

// CheckAddresses returns an error that names each flag whose address can't be listened on, or that two flags have, and
// what to do about it. The servers, which listen later, know no flags.
func CheckAddresses(addresses ...Address) error {
	var errs []error
	var listeners []net.Listener
	for _, address := range addresses {
		if address.Value == "0" {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address.Value)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s=%s: %w: %s", address.Flag, address.Value, err, remedy(err)))
			continue
		}
		listeners = append(listeners, listener)
	}
	for _, listener := range listeners {
		errs = append(errs, listener.Close())
	}
	return errors.Join(errs...)
}

// remedy returns what to do about an error of listening.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "choose another port, or end what listens there"
	case errors.Is(err, syscall.EACCES):
		return "choose a port above 1023"
	}
	return "write an address and a port, such as :8080"
}
