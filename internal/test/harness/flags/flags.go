// Package flags checks which flags commands accept, and what they say of those that they refuse.
package flags

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/daemon"
)

// Parse reads flags into a command's options, as the command does.
func Parse(o daemon.Options, arguments ...string) error {
	flags := flag.NewFlagSet("command", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.AddFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	return o.Complete()
}

// Values are the values of options by their flags' names, and those that they should have.
type Values map[string]struct{ Got, Want any }

// Check checks that defaults are as they should be.
func (v Values) Check(t *testing.T) {
	t.Helper()
	for name, value := range v {
		if value.Got != value.Want {
			t.Errorf("%s is %v by default, want %v", name, value.Got, value.Want)
		}
	}
}

// Accepted checks that flags are accepted, in cases by name.
func Accepted(t *testing.T, parse func(...string) error, cases map[string][]string) {
	t.Helper()
	for name, arguments := range cases {
		t.Run(name, func(t *testing.T) {
			if err := parse(arguments...); err != nil {
				t.Error(err)
			}
		})
	}
}

// Refusals are flags, separated by one blank, that are refused, and the flag that is at fault, by the cases' names.
type Refusals map[string]struct{ Arguments, Culprit string }

// Check checks that the error names the flag that is at fault, and no other.
func (r Refusals) Check(t *testing.T, parse func(...string) error) {
	t.Helper()
	for name, refusal := range r {
		t.Run(name, func(t *testing.T) {
			err := parse(strings.Split(refusal.Arguments, " ")...)
			if err == nil {
				t.Fatal("accepted")
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, refusal.Culprit) {
					t.Errorf("the error names another flag: %s", line)
				}
			}
		})
	}
}

// AllNamed checks that the error names each of several faults.
func AllNamed(t *testing.T, err error, culprits ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, culprit := range culprits {
		if !strings.Contains(err.Error(), culprit) {
			t.Errorf("%s is not named: %v", culprit, err)
		}
	}
}
