package certificates

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/redact"
)

const (
	// AuthorityName is the Secret that has the authority's private key. Only the controller needs it.
	AuthorityName = "apikey-ca-key"
	// BundleName is the ConfigMap that has the certificates of the authorities to trust. Nothing in it is secret.
	BundleName = "apikey-ca"
	// BundleKey is the key of that ConfigMap.
	BundleKey = "ca.crt"
)

// These are the keys of the authority's Secret besides those of every kubernetes.io/tls Secret.
const (
	nextCertificate   = "next.crt"
	nextKey           = "next.key"
	nextPublishedTime = "next.publishedTime"
	previous          = "previous.crt"
)

// These are the values of keysv1alpha1.CertificateLabel.
const (
	labelAuthority = "authority"
	labelServing   = "serving"
	labelBundle    = "bundle"
)

// errForeign reports that the Secret with the authority's name belongs to somebody else.
var errForeign = errors.New("is not the controller's: delete or rename it, " +
	"or have certificates from elsewhere (--self-signed-certificates=false)")

// objects are what a state was read from. Each write replaces exactly the version that was read.
type objects struct {
	authority *corev1.Secret
	bundle    *corev1.ConfigMap
	serving   map[string]*corev1.Secret
}

// gather reads everything, past any cache. It reads the authority last: a controller whose authority is outdated then
// has an outdated version of what it writes, too, and gets a conflict.
func (c *Controller) gather(ctx context.Context) (*objects, *state, error) {
	o := &objects{serving: map[string]*corev1.Secret{}}
	s := &state{leaves: map[string]leaf{}, names: c.domains()}
	for secret, services := range c.options.Serving {
		found, err := get(ctx, c, secret, &corev1.Secret{})
		if err != nil {
			return nil, nil, err
		}
		o.serving[secret], s.leaves[secret] = found, readLeaf(found, c.names(services))
	}
	var err error
	if o.bundle, err = get(ctx, c, BundleName, &corev1.ConfigMap{}); err != nil {
		return nil, nil, err
	}
	if o.bundle != nil {
		s.bundle = []byte(o.bundle.Data[BundleKey])
	}
	if o.authority, err = get(ctx, c, AuthorityName, &corev1.Secret{}); err != nil {
		return nil, nil, err
	}
	if o.authority == nil {
		return o, s, nil
	}
	if o.authority.Labels[keysv1alpha1.CertificateLabel] != labelAuthority {
		return nil, nil, fmt.Errorf("secret %s/%s %w", c.options.Namespace, AuthorityName, errForeign)
	}
	s.authority = readAuthority(o.authority)
	return o, s, nil
}

// get reads an object of the controller's namespace, and returns nil if there is none.
func get[T client.Object](ctx context.Context, c *Controller, name string, into T) (T, error) {
	var none T
	err := c.options.Live.Get(ctx, client.ObjectKey{Namespace: c.options.Namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("reading %T %s/%s: %w", into, c.options.Namespace, name, err)
	}
	return into, nil
}

// readLeaf reads a server's certificate.
func readLeaf(secret *corev1.Secret, names []string) leaf {
	l := leaf{names: names}
	if secret == nil {
		return l
	}
	l.foreign = secret.Labels[keysv1alpha1.CertificateLabel] != labelServing
	if p, err := decodePair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]); err == nil {
		l.certificate = p.certificate
	}
	return l
}

// readAuthority reads the authority. It leaves out what cannot be read.
func readAuthority(secret *corev1.Secret) *authority {
	a := &authority{}
	a.previous, _ = decodeCertificates(secret.Data[previous])
	a.signing, a.fault = decodePair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if a.fault == nil && !a.signing.certificate.IsCA {
		a.signing, a.fault = pair{}, errors.New("the certificate is not an authority's")
	}
	if a.fault != nil { // Certificates that it has signed may still be in use.
		lost, _ := decodeCertificates(secret.Data[corev1.TLSCertKey])
		a.previous = append(a.previous, lost...)
	}
	if next, err := decodePair(secret.Data[nextCertificate], secret.Data[nextKey]); err == nil && next.certificate.IsCA {
		a.next = &next
		a.published, _ = time.Parse(time.RFC3339, string(secret.Data[nextPublishedTime]))
	}
	return a
}

// write writes the authority to its Secret.
func (a *authority) write(secret *corev1.Secret) error {
	data := map[string][]byte{}
	var err error
	if data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey], err = a.signing.encode(); err != nil {
		return err
	}
	if a.next != nil {
		if data[nextCertificate], data[nextKey], err = a.next.encode(); err != nil {
			return err
		}
		if !a.published.IsZero() {
			data[nextPublishedTime] = []byte(a.published.UTC().Format(time.RFC3339))
		}
	}
	if len(a.previous) > 0 {
		data[previous] = encodeCertificates(a.previous...)
	}
	secret.Data = data
	return nil
}

// perform does one step, by one write.
func (c *Controller) perform(ctx context.Context, todo step, o *objects, s *state) error {
	now, l := c.options.Clock.Now(), c.options.Lifetimes
	switch todo.action {
	case publish:
		return c.publish(ctx, o.bundle, s.authority.bundle())
	case issue:
		return c.issue(ctx, o.serving[todo.secret], todo.secret, s, now)
	}
	changed := &authority{}
	if s.authority != nil {
		*changed = *s.authority
	}
	var err error
	switch todo.action {
	case create, replace:
		changed.retireSigning(now)
		changed.signing, err = newAuthority(s.names, now, l.Authority)
	case announce:
		var next pair
		next, err = newAuthority(s.names, now, l.Authority)
		changed.next, changed.published = &next, time.Time{}
	case record:
		changed.published = now
	case promote:
		changed.retireSigning(now)
		changed.signing, changed.next, changed.published = *changed.next, nil, time.Time{}
	case retire:
		changed.previous = nil
	}
	if err != nil {
		return fmt.Errorf("making a certificate authority: %w", err)
	}
	return c.writeAuthority(ctx, o.authority, changed)
}

// retireSigning makes the signing authority a previous one, without its private key, and drops those that have expired.
func (a *authority) retireSigning(now time.Time) {
	if a.fault == nil && a.signing.certificate != nil {
		a.previous = append(slices.Clone(a.previous), a.signing.certificate)
	}
	a.signing, a.fault = pair{}, nil
	a.previous = slices.DeleteFunc(a.previous, func(c *x509.Certificate) bool { return !now.Before(c.NotAfter) })
}

func (c *Controller) writeAuthority(ctx context.Context, secret *corev1.Secret, a *authority) error {
	fresh := secret == nil
	if fresh {
		secret = &corev1.Secret{ObjectMeta: c.meta(AuthorityName, labelAuthority), Type: corev1.SecretTypeTLS}
	}
	if err := a.write(secret); err != nil {
		return err
	}
	return c.save(ctx, secret, fresh)
}

func (c *Controller) publish(ctx context.Context, bundle *corev1.ConfigMap, content []byte) error {
	fresh := bundle == nil
	if fresh {
		bundle = &corev1.ConfigMap{ObjectMeta: c.meta(BundleName, labelBundle)}
	}
	if bundle.Data == nil {
		bundle.Data = map[string]string{}
	}
	bundle.Data[BundleKey] = string(content)
	return c.save(ctx, bundle, fresh)
}

func (c *Controller) issue(ctx context.Context, secret *corev1.Secret, name string, s *state, now time.Time) error {
	signing := s.authority.signing
	names := permittedNames(signing.certificate, s.leaves[name].names)
	made, err := newServing(signing, names, now, c.options.Lifetimes.Serving)
	if err != nil {
		return fmt.Errorf("making the certificate of %s: %w", name, err)
	}
	fresh := secret == nil
	if fresh {
		secret = &corev1.Secret{ObjectMeta: c.meta(name, labelServing), Type: corev1.SecretTypeTLS}
	}
	certificate, key, err := made.encode()
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	maps.Copy(data, secret.Data)
	data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey] = certificate, key
	secret.Data = data
	return c.save(ctx, secret, fresh)
}

func (c *Controller) meta(name, label string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: c.options.Namespace, Name: name,
		Labels: map[string]string{"app.kubernetes.io/part-of": "apikey-operator", keysv1alpha1.CertificateLabel: label},
	}
}

// save creates an object, or replaces exactly the version that was read. Its error doesn't quote a private key.
func (c *Controller) save(ctx context.Context, object client.Object, fresh bool) error {
	if fresh {
		return redact.Error(c.options.Client.Create(ctx, object))
	}
	return redact.Error(c.options.Client.Update(ctx, object))
}
