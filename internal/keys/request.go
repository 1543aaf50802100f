package keys

import (
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Request is what a person asks for when creating a key.
type Request struct {
	Namespace, Name, DisplayName string
	Scopes                       []string
	Expiry                       string
	AllowedCIDRs                 []string
	RotateEvery, RotateOverlap   string
	// Secret is the name of the Secret; blank means the key's name.
	Secret string
}

// Key returns the requested ApiKey. The API server validates it.
func (r *Request) Key() *keysv1alpha1.ApiKey {
	key := &keysv1alpha1.ApiKey{
		TypeMeta:   metav1.TypeMeta{APIVersion: keysv1alpha1.GroupVersion.String(), Kind: "ApiKey"},
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name},
		Spec: keysv1alpha1.ApiKeySpec{
			DisplayName:  r.DisplayName,
			Scopes:       trimmed[keysv1alpha1.Scope](r.Scopes),
			Expiry:       keysv1alpha1.Expiry(r.Expiry),
			AllowedCIDRs: trimmed[keysv1alpha1.CIDR](r.AllowedCIDRs),
		},
	}
	if r.RotateEvery != "" || r.RotateOverlap != "" {
		key.Spec.Rotation = &keysv1alpha1.Rotation{
			Every:   keysv1alpha1.Period(r.RotateEvery),
			Overlap: keysv1alpha1.Period(r.RotateOverlap),
		}
	}
	if r.Secret != "" {
		key.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: r.Secret}
	}
	return key
}

// trimmed removes the blanks around each text, and duplicates.
func trimmed[T ~string](texts []string) []T {
	var all []T
	for _, text := range texts {
		if one := T(strings.TrimSpace(text)); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// MakeToken makes a token from a cryptographically secure source, and sets its digest and prefix in the key's spec.
// Nothing else of it is kept.
func MakeToken(random io.Reader, format token.Format, key *keysv1alpha1.ApiKey) (token.Token, error) {
	made, err := token.New(random, format)
	if err != nil {
		return token.Token{}, err
	}
	key.Spec.Digest = &keysv1alpha1.TokenDigest{
		SHA256: made.Digest().Hex(),
		Prefix: made.Prefix(),
	}
	return made, nil
}

// FormatOf returns the default format of tokens of an environment.
func FormatOf(environment keysv1alpha1.Environment) token.Format {
	if environment == keysv1alpha1.EnvironmentTest {
		return token.FormatTest
	}
	return token.FormatLive
}

// Manifest returns the part of a key that belongs in Git: what a person asks for, without what the API server and
// controllers have added.
func Manifest(key *keysv1alpha1.ApiKey) *keysv1alpha1.ApiKey {
	manifest := &keysv1alpha1.ApiKey{
		TypeMeta:   metav1.TypeMeta{APIVersion: keysv1alpha1.GroupVersion.String(), Kind: "ApiKey"},
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Labels: key.Labels},
		Spec:       *key.Spec.DeepCopy(),
	}
	if manifest.Spec.State == keysv1alpha1.ApiKeyActive {
		manifest.Spec.State = "" // What Git doesn't name, it doesn't undo.
	}
	return manifest
}

// sameRequest reports whether two specs ask for the same, apart from the order of lists and the schema's defaults.
func sameRequest(a, b *keysv1alpha1.ApiKeySpec) bool {
	return equality.Semantic.DeepEqual(normal(a), normal(b))
}

// normal returns a copy of a spec with sorted lists and the schema's defaults.
func normal(spec *keysv1alpha1.ApiKeySpec) *keysv1alpha1.ApiKeySpec {
	spec = spec.DeepCopy()
	slices.Sort(spec.Scopes)
	slices.Sort(spec.AllowedCIDRs)
	spec.Expiry = spec.Expiry.OrNever()
	if spec.State == "" {
		spec.State = keysv1alpha1.ApiKeyActive
	}
	return spec
}
