package keys

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Published is what a client needs from a key's Secret to call the API.
type Published struct {
	Token token.Token
	// TenantID and APIBaseURL are those of the key's tenant.
	TenantID, APIBaseURL string
}

// Published reads the Secret of a key. Nothing else in this package reads Secrets.
func (c *Client) Published(ctx context.Context, key *keysv1alpha1.ApiKey) (Published, error) {
	if key.Status.SecretName == "" {
		return Published{}, fmt.Errorf("ApiKey %s has no Secret", nameOf(key))
	}
	secret := &corev1.Secret{}
	name := types.NamespacedName{Namespace: key.Namespace, Name: key.Status.SecretName}
	if err := c.api.Get(ctx, name, secret); err != nil {
		return Published{}, err
	}
	if owner := metav1.GetControllerOf(secret); owner == nil || owner.UID != key.UID {
		//nolint:staticcheck // It begins with a kind's name.
		return Published{}, fmt.Errorf("Secret %s is not that of ApiKey %s", name, nameOf(key))
	}
	read, err := token.Parse(string(secret.Data["token"]))
	if err != nil {
		return Published{}, fmt.Errorf("reading entry token of Secret %s: %w", name, err)
	}
	return Published{
		Token:      read,
		TenantID:   string(secret.Data["tenantId"]),
		APIBaseURL: string(secret.Data["apiBaseUrl"]),
	}, nil
}

// Token reads the token of a key from its Secret.
func (c *Client) Token(ctx context.Context, key *keysv1alpha1.ApiKey) (token.Token, error) {
	published, err := c.Published(ctx, key)
	return published.Token, err
}
