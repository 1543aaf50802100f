package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Address is where a flag says that something listens; "0" is nowhere.
type Address struct{ Flag, Value string }

// CheckAddresses says which addresses nothing can listen at, or two things would, and what to do about it. Whoever listens
// there later names no flag.
func CheckAddresses(addresses ...Address) error {
	var errs []error
	var listeners []net.Listener
	for _, address := range addresses {
		if address.Value == "0" {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address.Value)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s=%s: %w: %s", address.Flag, address.Value, err, wayOut(err)))
			continue
		}
		listeners = append(listeners, listener)
	}
	for _, listener := range listeners {
		errs = append(errs, listener.Close())
	}
	return errors.Join(errs...)
}

func wayOut(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "choose another port, or end what listens there"
	case errors.Is(err, syscall.EACCES):
		return "choose a port above 1023"
	}
	return "write an address and a port, such as :8080"
}
