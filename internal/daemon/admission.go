package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Write is a change of the canary that a program makes while it works. RBAC allows it or not by the resource alone;
// admission policies look at the fields and at the account's name, so only a try tells whether they allow it.
type Write struct {
	// Subresource is status, or empty for the object itself.
	Subresource string
	// Patch is a JSON merge patch for the canary with this UID.
	Patch func(canary types.UID) string
}

// AlwaysPatch returns the Patch of a Write that is the same for every canary.
func AlwaysPatch(patch string) func(types.UID) string { return func(types.UID) string { return patch } }

// checkCanary checks that the canary exists, and that admission policies allow the writes. A dry run stores nothing.
func (n Needs) checkCanary(ctx context.Context, client rest.Interface) error {
	if n.Canary.Name == "" {
		return nil
	}
	path := []string{
		"/apis", keysv1alpha1.GroupVersion.String(), "namespaces", n.Canary.Namespace, "apikeys", n.Canary.Name,
	}
	content, err := client.Get().AbsPath(path...).Do(ctx).Raw()
	switch {
	case apierrors.IsNotFound(err) && n.CanaryOptional:
		return nil
	case apierrors.IsNotFound(err):
		return unmet(fmt.Sprintf(
			"the canary ApiKey %s is missing: create it with kubectl apply --server-side -f config/verifier/canary.yaml",
			n.Canary,
		))
	case err != nil:
		return err
	}
	canary := &metav1.PartialObjectMetadata{}
	if err := json.Unmarshal(content, canary); err != nil {
		return err
	}
	for _, write := range n.Writes {
		if err := write.try(ctx, client, path, canary.UID); err != nil {
			return err
		}
	}
	return nil
}

// try sends a write as a dry run. The error of a refusal names the policy.
func (w Write) try(ctx context.Context, client rest.Interface, path []string, canary types.UID) error {
	if w.Subresource != "" {
		path = append(slices.Clip(path), w.Subresource)
	}
	err := client.Patch(types.MergePatchType).AbsPath(path...).Param("dryRun", metav1.DryRunAll).
		Param("fieldManager", "apikey-startup").Body([]byte(w.Patch(canary))).Do(ctx).Error()
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return unmet(fmt.Sprintf(
			"%s refuses what this account must write (%v): apply config/policy and config/rbac as they are, for the namespace "+
				"that --namespace names, and have other policies leave the group %s alone",
			refuser(err), err, keysv1alpha1.GroupName,
		))
	case apierrors.IsNotFound(err):
		return nil // The canary has gone since it was read: the next round tells.
	}
	return err
}

// namedPolicy matches how the API server names a policy that refuses.
var namedPolicy = regexp.MustCompile(`(?:Validating|Mutating)AdmissionPolicy '([^']+)'`)

// refuser names what has refused a write.
func refuser(err error) string {
	if match := namedPolicy.FindStringSubmatch(err.Error()); match != nil {
		return "the policy " + match[1]
	}
	return "admission"
}
