package keys

import (
	"context"
	"errors"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Rights are what a person may do in a namespace. A frontend offers only what they allow; the API server decides about
// each request.
type Rights struct {
	// List allows listing and watching keys.
	List bool `json:"list"`
	// Create allows creating keys, resuming them and widening what they may do.
	Create bool `json:"create"`
	// Change allows suspending, rotating and revoking keys.
	Change bool `json:"change"`
	// ReadSecrets allows reading the tokens of keys.
	ReadSecrets bool `json:"readSecrets"`
}

// Rights asks the API server what a person may do in a namespace.
func (c *Client) Rights(ctx context.Context, namespace string) (Rights, error) {
	var rights Rights
	group := keysv1alpha1.GroupVersion.Group
	questions := []struct {
		answer                *bool
		group, resource, verb string
	}{
		{&rights.List, group, "apikeys", "list"},
		{&rights.Create, group, "apikeys", "create"},
		{&rights.Change, group, "apikeys", "patch"},
		{&rights.ReadSecrets, "", "secrets", "get"},
	}
	errs := make([]error, len(questions))
	var answered sync.WaitGroup
	for i, q := range questions {
		answered.Go(func() {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Group:     q.group,
					Resource:  q.resource,
					Verb:      q.verb,
					Namespace: namespace,
				},
			}}
			errs[i] = c.api.Create(ctx, review)
			*q.answer = review.Status.Allowed
		})
	}
	answered.Wait()
	return rights, errors.Join(errs...)
}

// WhoAmI returns the name by which the API server knows the person.
func (c *Client) WhoAmI(ctx context.Context) (string, error) {
	review := &authenticationv1.SelfSubjectReview{}
	err := c.api.Create(ctx, review)
	return review.Status.UserInfo.Username, err
}
