package status

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// TestConclude checks the conditions of every outcome, each after every other: nothing of the one before is left.
func TestConclude(t *testing.T) {
	revoking := Requested(keysv1alpha1.ReasonRevoked, "m")
	revoking.Reconciling = true
	for name, test := range map[string]struct {
		outcome *Outcome
		want    []string
	}{
		"ready": {Ready(keysv1alpha1.ReasonReady, "m"), []string{"Ready=True/Ready"}},
		"waiting": {
			Waiting(keysv1alpha1.ReasonAnnounced, "m"), []string{"Ready=Unknown/Announced", "Reconciling=True/Announced"},
		},
		"stalled":   {Stalled(keysv1alpha1.ReasonNoTenant, "m"), []string{"Ready=False/NoTenant", "Stalled=True/NoTenant"}},
		"suspended": {Requested(keysv1alpha1.ReasonSuspended, "m"), []string{"Suspended=True/Suspended"}},
		"expired":   {Requested(keysv1alpha1.ReasonExpired, "m"), nil},
		"revoking":  {revoking, []string{"Reconciling=True/Revoked"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, before := range []*Outcome{
				Ready("A", "a"), Waiting("B", "b"), Stalled("C", "c"), Requested(keysv1alpha1.ReasonSuspended, "d"),
			} {
				list, observed := []metav1.Condition{}, int64(0)
				Of(&list, &observed, 6, metav1.NewTime(time.Unix(1, 0))).Conclude(before)
				Of(&list, &observed, 7, metav1.NewTime(time.Unix(2, 0))).Conclude(test.outcome)
				if observed != 7 {
					t.Errorf("after %s: observed generation %d", before.Reason, observed)
				}
				var got []string
				for i := range list {
					if list[i].ObservedGeneration != 7 || list[i].Message != "m" {
						t.Errorf("after %s: %+v", before.Reason, list[i])
					}
					got = append(got, fmt.Sprintf("%s=%s/%s", list[i].Type, list[i].Status, list[i].Reason))
				}
				slices.Sort(got)
				if !slices.Equal(got, test.want) {
					t.Errorf("after %s: %v, want %v", before.Reason, got, test.want)
				}
			}
		})
	}
}

// TestRetry checks that a conflict is retried, that a deleted object is not, and that any other error is reported.
func TestRetry(t *testing.T) {
	keys := schema.GroupResource{Resource: "apikeys"}
	fault := errors.New("fault")
	for name, test := range map[string]struct {
		err   error
		again bool
		want  error
	}{
		"conflict":       {apierrors.NewConflict(keys, "key", fault), true, nil},
		"already exists": {fmt.Errorf("creating: %w", apierrors.NewAlreadyExists(keys, "key")), true, nil},
		"gone":           {apierrors.NewNotFound(keys, "key"), false, nil},
		"fault":          {fault, false, fault},
		"none":           {nil, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := Retry(t.Context(), test.err)
			if (result.RequeueAfter > 0) != test.again || !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("%v, %v", result, err)
			}
		})
	}
}
