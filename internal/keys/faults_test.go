package keys_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

func TestExplainErrors(t *testing.T) {
	resource := schema.GroupResource{Group: keysv1alpha1.GroupVersion.Group, Resource: "apikeys"}
	for name, test := range map[string]struct {
		err         error
		fault       keys.Fault
		means       string
		commandLine string
	}{
		"unknown token": {apierrors.NewUnauthorized("Unauthorized"), keys.FaultUnauthenticated, "does not know", "Log in"},
		"no right": {
			apierrors.NewForbidden(resource, "a", errors.New(`User "jane" cannot list`)), keys.FaultForbidden,
			`The API server says: User "jane" cannot list.`, "ClusterRoleBinding",
		},
		"a policy": {apierrors.NewForbidden(resource, "a", errors.New("ValidatingAdmissionPolicy 'x' with binding 'x' "+
			"denied request: spec.scopes: ask somebody")),
			keys.FaultPolicy, "You may not do that: spec.scopes: ask somebody.", ""},
		"gone": {apierrors.NewNotFound(resource, "a"), keys.FaultNotFound, "no such key", "kubectl apikey list"},
		"not installed": {
			apierrors.NewGenericServerResponse(404, "get", resource, "", "", 0, true), keys.FaultNotInstalled, "no API keys",
			"operator installed",
		},
		"changed": {
			apierrors.NewConflict(resource, "a", errors.New("x")), keys.FaultConflict, "Somebody else", "try again",
		},
		"busy": {
			apierrors.NewTooManyRequests("slow down", 1), keys.FaultBusy, "can't answer now: slow down.", "Try again",
		},
		"refused": {
			apierrors.NewBadRequest("100% wrong %s"), keys.FaultRefused, "The API server refuses: 100% wrong %s.", "",
		},
		"away": {
			errors.New("dial tcp 127.0.0.1:6443: connect: connection refused"), keys.FaultUnreachable, "can't be reached", "",
		},
		"slow": {
			fmt.Errorf("waiting: %w", context.DeadlineExceeded), keys.FaultSlow, "longer than usual", "--timeout",
		},
		"stuck": {&keys.StuckError{Reason: keysv1alpha1.ReasonNamespaceNotServed, Message: "not in shop."}, keys.FaultStuck,
			"Not in shop.", "--namespaces"},
		"taken": {&keys.ExistsError{Key: working()}, keys.FaultExists, "taken", ""},
		"no tenant": {
			&keys.TenantError{Namespace: "shop"}, keys.FaultNoTenant,
			"No tenant selects namespace shop, so keys in it can't be issued.", "labelled",
		},
		"two tenants": {
			&keys.TenantError{Namespace: "shop", Selected: []string{"a", "b"}}, keys.FaultNoTenant,
			"selected by the tenants a, b", "one Tenant",
		},
	} {
		if got := keys.FaultOf(test.err); got != test.fault {
			t.Errorf("%s: fault %d, want %d", name, got, test.fault)
		}
		means, do := keys.CommandLine.Explain(test.err)
		if !strings.Contains(means, test.means) || !strings.Contains(do, test.commandLine) ||
			(do == "") != (test.commandLine == "") {
			t.Errorf("%s: %q, %q", name, means, do)
		}
		onPage, do := keys.Page.Explain(test.err)
		if onPage != means || strings.Contains(do, "kubectl") || strings.Contains(do, " -n") {
			t.Errorf("%s: on the page %q, %q", name, onPage, do)
		}
	}
}
