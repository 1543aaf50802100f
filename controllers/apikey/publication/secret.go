package publication

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

const (
	// secretType follows the Service Binding specification: servicebinding.io/ and the value of the entry "type".
	secretType = corev1.SecretType("servicebinding.io/" + bindingType)
	// bindingType and bindingProvider are the entries by which applications find a binding.
	bindingType     = "nexuscommerce"
	bindingProvider = "nexuscommerce"

	// uidLabel holds the UID of the ApiKey that a Secret is for, so that the Secret is recognised without its owner
	// reference.
	uidLabel = keysv1alpha1.GroupName + "/uid"
)

// SecretName returns the name of the Secret that spec asks for.
func SecretName(key *keysv1alpha1.ApiKey) string {
	if key.Spec.Secret != nil && key.Spec.Secret.Name != "" {
		return key.Spec.Secret.Name
	}
	return key.Name
}

// desiredSecret returns the Secret of a key: what a workload needs to call the API, and no more. It is pure. The error
// is a *secretdata.Error.
func desiredSecret(key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant, tok token.Token) (*corev1.Secret, error) {
	f := fieldsOf(key, tenant, tok)
	data := map[string][]byte{
		"token":         []byte(f.Token),
		"authorization": []byte(f.Authorization),
		"tenantId":      []byte(f.TenantID),
		"apiBaseUrl":    []byte(f.APIBaseURL),
		"prefix":        []byte(f.Prefix),
		"expiresAt":     []byte(f.ExpiresAt),
		"type":          []byte(bindingType),
		"provider":      []byte(bindingProvider),
		"uri":           []byte(f.APIBaseURL),
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:            SecretName(key),
			Namespace:       key.Namespace,
			Labels:          map[string]string{},
			Annotations:     map[string]string{},
			OwnerReferences: []metav1.OwnerReference{ownerReference(key)},
		},
		Type: secretType,
		Data: data,
	}
	if shape := key.Spec.Secret; shape != nil {
		maps.Copy(secret.Annotations, shape.Annotations)
		for name, value := range shape.Labels {
			secret.Labels[name] = string(value)
		}
		rendered, err := secretdata.Render(shape.Data, f)
		if err != nil {
			return nil, err
		}
		if err := recordNames(secret, shape); err != nil {
			return nil, err
		}
		maps.Copy(data, rendered)
	}
	secret.Labels[keysv1alpha1.ManagedByLabel] = keysv1alpha1.ManagedByValue
	secret.Labels[uidLabel] = string(key.UID)
	return secret, nil
}

// CheckTemplates returns what is wrong with the key's templates: the error of desiredSecret, which is the same for any
// token.
func CheckTemplates(key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant) error {
	if key.Spec.Secret == nil {
		return nil
	}
	return secretdata.Check(key.Spec.Secret.Data, publicFieldsOf(key, tenant))
}

func fieldsOf(key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant, tok token.Token) *secretdata.Fields {
	f := publicFieldsOf(key, tenant)
	f.Token, f.Authorization, f.Prefix = tok.Reveal(), "Bearer "+tok.Reveal(), tok.Prefix()
	return f
}

func publicFieldsOf(key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant) *secretdata.Fields {
	f := &secretdata.Fields{
		TenantID:    key.Status.TenantID,
		APIBaseURL:  tenant.Spec.APIBaseURL,
		ExpiresAt:   string(keysv1alpha1.ExpiryNever),
		Namespace:   key.Namespace,
		Name:        key.Name,
		DisplayName: displayName(key),
	}
	if key.Status.ExpiresTime != nil {
		f.ExpiresAt = key.Status.ExpiresTime.UTC().Format(time.RFC3339)
	}
	for _, scope := range key.Status.Scopes {
		f.Scopes = append(f.Scopes, string(scope))
	}
	return f
}

func displayName(key *keysv1alpha1.ApiKey) string {
	if key.Spec.DisplayName != "" {
		return key.Spec.DisplayName
	}
	return key.Name
}

// ownerReference returns a controller reference that does not block the owner's deletion: deleting a key needs nothing
// of it.
func ownerReference(key *keysv1alpha1.ApiKey) metav1.OwnerReference {
	reference := metav1.NewControllerRef(key, keysv1alpha1.GroupVersion.WithKind("ApiKey"))
	reference.BlockOwnerDeletion = nil
	return *reference
}
