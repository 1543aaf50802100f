package console

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

func TestExplain(t *testing.T) {
	resource := schema.GroupResource{Group: keysv1alpha1.GroupVersion.Group, Resource: "apikeys"}
	for name, test := range map[string]struct {
		err     error
		reason  string
		message string
	}{
		"nobody":        {errNobody, reasonSession, "Sign in again"},
		"ended":         {errEnded, reasonSession, "Sign in again"},
		"unknown token": {apierrors.NewUnauthorized("Unauthorized"), reasonSession, "Sign in again"},
		"forged":        {errForged, reasonForged, "Load it again"},
		"no right": {
			apierrors.NewForbidden(resource, "a", errors.New(`User "jane" cannot list resource`)), reasonForbidden,
			`The API server says: User "jane" cannot list`,
		},
		"a policy": {
			apierrors.NewForbidden(resource, "a", errors.New("ValidatingAdmissionPolicy 'x' with binding 'x' denied request: "+
				"spec.scopes: ask somebody")),
			reasonForbidden, "You may not do that: spec.scopes: ask somebody.",
		},
		"gone": {apierrors.NewNotFound(resource, "a"), reasonNotFound, "no such key"},
		"not installed": {
			apierrors.NewGenericServerResponse(404, "get", resource, "", "", 0, true), reasonNoKinds, "operator installed",
		},
		"changed": {apierrors.NewConflict(resource, "a", errors.New("x")), reasonConflict, "try again"},
		"busy":    {apierrors.NewTooManyRequests("slow down", 1), reasonUnreachable, "slow down"},
		"away": {
			errors.New("dial tcp 127.0.0.1:6443: connect: connection refused"), reasonUnreachable, "can't be reached",
		},
		"a fault of ours": {apierrors.NewBadRequest("what is this"), reasonRefused, "what is this"},
		"stuck": {
			&keys.StuckError{Reason: keysv1alpha1.ReasonQuotaExceeded, Message: "20 of 20."}, reasonStuck,
			"20 of 20. Revoke a key that nobody needs",
		},
		"taken": {&keys.ExistsError{Key: fixture.ApiKey("shop", "a")}, reasonConflict, "taken"},
	} {
		p := explain(test.err)
		if p.Reason != test.reason || !strings.Contains(p.Message, test.message) || p.status() == 0 {
			t.Errorf("%s: %+v, status %d", name, p, p.status())
		}
	}
}

func TestInvalid(t *testing.T) {
	spec := field.NewPath("spec")
	err := apierrors.NewInvalid(keysv1alpha1.GroupVersion.WithKind("ApiKey").GroupKind(), "a", field.ErrorList{
		field.Invalid(field.NewPath("metadata", "name"), "A B", "no DNS name"),
		field.Invalid(spec.Child("allowedCIDRs").Index(0), "x: y", "must be a block"),
		field.Invalid(spec.Child("rotation", "overlap"), "9d", "overlap must be shorter than every"),
		field.Required(spec.Child("rotation", "every"), "say how often"),
		field.Invalid(spec.Child("secret", "name"), "A", "must be lower-case"),
	})
	p := explain(err)
	got := make([]string, len(p.Fields))
	for i, f := range p.Fields {
		got[i] = f.Field + ": " + f.Message
	}
	want := []string{
		"name: No DNS name.",
		"allowedCIDRs: Must be a block.",
		"rotateOverlap: Overlap must be shorter than every.",
		"rotateEvery: Required value: say how often.",
	}
	if !slices.Equal(got, want) || p.Message != "Must be lower-case." {
		t.Errorf("%q, %s", got, p.Message)
	}
}

func TestConditions(t *testing.T) {
	key := fixture.ApiKey("shop", "a")
	for _, c := range [][3]string{
		{"Admitted", "False", "UnknownScope"}, {"Ready", "False", "UnknownScope"}, {"Stalled", "True", "UnknownScope"},
		{"Expired", "False", "ExpiringSoon"},
		{"RevocationEffective", "False", "WaitingForVerifiers"}, {"Published", "False", "Revoked"},
		{"Else", "True", "Whatever"},
	} {
		key.Status.Conditions = append(key.Status.Conditions,
			metav1.Condition{Type: c[0], Status: metav1.ConditionStatus(c[1]), Reason: c[2], Message: "m"})
	}
	all := newConditions(key)
	got := make([]string, len(all))
	for i, c := range all {
		got[i] = c.Heading + "|" + c.Tone
		if strings.Contains(c.Advice, "kubectl") {
			t.Errorf("%s tells to use the command line: %s", c.Type, c.Advice)
		}
	}
	want := []string{
		"Else is True|",
		"The key does not work yet|bad",
		"It needs a person|bad",
		"A verifier may still have to learn that the key is revoked|wait",
		"Expires soon|wait",
		"What it asks for is not granted|bad",
		"Its token is not published|",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestRow(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	issued := func(k *keysv1alpha1.ApiKey) {
		k.Status.IssuedTime = &metav1.Time{Time: now.Add(-time.Hour)}
		k.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Ready"}}
	}
	for name, test := range map[string]struct {
		change func(*keysv1alpha1.ApiKey)
		state  keystate.State
		may    string
	}{
		"new":   {func(k *keysv1alpha1.ApiKey) { k.Generation = 1 }, keystate.StateWaiting, "suspend revoke"},
		"works": {issued, keystate.StateActive, "rotate suspend revoke"},
		"suspended": {
			func(k *keysv1alpha1.ApiKey) { issued(k); k.Spec.State = keysv1alpha1.ApiKeySuspended }, keystate.StateSuspended,
			"resume revoke",
		},
		"revoked": {
			func(k *keysv1alpha1.ApiKey) { issued(k); k.Spec.State = keysv1alpha1.ApiKeyRevoked }, keystate.StateRevoking, "",
		},
		"expired": {
			func(k *keysv1alpha1.ApiKey) { issued(k); k.Spec.Expiry = "1s" }, keystate.StateExpired, "rotate revoke",
		},
		"brings its digest": {
			func(k *keysv1alpha1.ApiKey) { issued(k); k.Spec.Digest = &keysv1alpha1.TokenDigest{} }, keystate.StateActive,
			"suspend revoke",
		},
		"being deleted": {
			func(k *keysv1alpha1.ApiKey) { issued(k); k.DeletionTimestamp = &metav1.Time{Time: now} }, keystate.StateDeleting,
			"",
		},
	} {
		active := func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyActive }
		r := newRow(fixture.ApiKey("shop", "a", active, test.change), now)
		if r.State != test.state || strings.Join(r.May, " ") != test.may {
			t.Errorf("%s: %s, may %v", name, r.State, r.May)
		}
	}
}
