package certificates

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Own is the certificate of the controller's own server, as the Secret has it. The controller can't wait for a file, as other
// programs do: it is the one who makes it.
type Own struct {
	reader client.Reader
	name   client.ObjectKey

	mu      sync.Mutex
	version string
	current *tls.Certificate
}

// NewOwn returns the certificate of a controller in a namespace, to which it still has to be said where to read it.
func NewOwn(namespace string) *Own {
	return &Own{name: client.ObjectKey{Namespace: namespace, Name: ControllerSecret}}
}

// ReadFrom has it read from a cache, before it is asked for.
func (o *Own) ReadFrom(reader client.Reader) { o.reader = reader }

// GetCertificate is a tls.Config's. Before there is a certificate it fails, and with it the handshake. One that can't be read
// leaves the one before it.
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
		var pair tls.Certificate
		if pair, err = tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]); err == nil {
			o.current, o.version = &pair, secret.ResourceVersion
		}
	}
	if o.current == nil {
		return nil, fmt.Errorf("no certificate yet: secret %s: %w", o.name, err)
	}
	return o.current, nil
}
