package main

import (
	"flag"
	"fmt"
	"time"

	"k8s.io/client-go/tools/leaderelection"
	ctrl "sigs.k8s.io/controller-runtime"
)

// leaseName is the name of the leader's Lease. The controller's RBAC has it, too.
const leaseName = "apikey-controller"

// leaseTimes are the times of the leader election. If a leader crashes, another replica takes over after duration and a
// retry or two: 10 to 13 s by default. A leader that can't renew its lease gives up well before another may take it. A
// leader that is stopped releases the lease, and another takes over at its next retry.
type leaseTimes struct {
	duration time.Duration
	deadline time.Duration
	retry    time.Duration
}

func (l *leaseTimes) addFlags(flags *flag.FlagSet) {
	flags.DurationVar(&l.duration, "leader-elect-lease-duration", 10*time.Second,
		"How long other replicas leave a leader that has crashed in its place. Whole seconds.")
	flags.DurationVar(&l.deadline, "leader-elect-renew-deadline", 7*time.Second,
		"How long a leader that can't renew its lease goes on before it ends. It is shorter than the lease.")
	flags.DurationVar(&l.retry, "leader-elect-retry-period", time.Second,
		"How often the leader renews its lease, and others try to take it.")
}

// check refuses times by which two replicas could lead at once.
func (l *leaseTimes) check() error {
	switch late := time.Duration(leaderelection.JitterFactor * float64(l.retry)); {
	case l.duration < time.Second || l.duration%time.Second != 0: // A Lease keeps it in seconds.
		return fmt.Errorf("--leader-elect-lease-duration: %s is not a number of whole seconds", l.duration)
	case l.deadline >= l.duration:
		return fmt.Errorf("--leader-elect-renew-deadline: %s is not shorter than --leader-elect-lease-duration, %s",
			l.deadline, l.duration)
	case l.retry <= 0:
		return fmt.Errorf("--leader-elect-retry-period: %s is not a positive time", l.retry)
	case late >= l.deadline:
		return fmt.Errorf("--leader-elect-retry-period: a retry comes up to %s apart, which is not shorter than "+
			"--leader-elect-renew-deadline, %s", late, l.deadline)
	}
	return nil
}

// apply sets the times in the options of a manager.
func (l *leaseTimes) apply(to *ctrl.Options) {
	to.LeaseDuration, to.RenewDeadline, to.RetryPeriod = &l.duration, &l.deadline, &l.retry
}

// explain explains the error of a lost leader election.
func (l *leaseTimes) explain(err error) error {
	if err != nil && err.Error() == "leader election lost" { // controller-runtime's error has no type.
		return fmt.Errorf(
			"%w: the lease %s was not renewed within %s, so another replica takes over; this one is to be started again",
			err, leaseName, l.deadline,
		)
	}
	return err
}
