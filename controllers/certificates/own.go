package certificates

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Own is the certificate of the controller's own server, read from its Secret. The controller cannot wait for a mounted
// file, as other programs do: it makes the certificate itself, after it has started.
type Own struct {
	reader client.Reader
	name   client.ObjectKey

	mu      sync.Mutex
	version string
	current *tls.Certificate
}

// NewOwn returns the certificate of the controller in a namespace. The reader is called for each handshake, so it
// should be a cache.
func NewOwn(reader client.Reader, namespace string) *Own {
	return &Own{reader: reader, name: client.ObjectKey{Namespace: namespace, Name: ControllerSecret}}
}

// GetCertificate is for tls.Config. It fails, and with it the handshake, until there is a certificate. A certificate
// that cannot be read does not replace the one before it.
func (o *Own) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	ctx := context.Background()
	if hello != nil && hello.Context() != nil {
		ctx = hello.Context()
	}
	secret := &corev1.Secret{}
	err := o.reader.Get(ctx, o.name, secret)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil && secret.ResourceVersion != o.version {
		var read tls.Certificate
		if read, err = tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]); err == nil {
			o.current, o.version = &read, secret.ResourceVersion
		}
	}
	if o.current == nil {
		return nil, fmt.Errorf("no certificate yet: secret %s: %w", o.name, err)
	}
	return o.current, nil
}
