package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nexuscommerce/apikey-operator/controllers/certificates"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/guide"
)

// verifierSecret is the Secret that the verifier's pods mount.
const verifierSecret = "apikey-verifier-tls"

// mounted are files as a pod has them.
type mounted struct {
	// certificate and key are the verifier's; authority is what the proxy trusts.
	certificate, key, authority string
	trust                       *tls.Config
}

// mount waits until the controller has signed the verifier's certificate, and writes it to files as the kubelet would,
// with the authority that a proxy reads from the ConfigMap.
func (c *cluster) mount(ctx context.Context) (mounted, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute,
		fmt.Errorf("the controller has made no Secret %s within a minute", verifierSecret))
	defer cancel()
	secrets := c.clients.CoreV1().Secrets(controlplane.SystemNamespace)
	secret, err := secrets.Get(ctx, verifierSecret, metav1.GetOptions{})
	for apierrors.IsNotFound(err) {
		select {
		case <-ctx.Done():
			return mounted{}, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
		secret, err = secrets.Get(ctx, verifierSecret, metav1.GetOptions{})
	}
	if err != nil {
		return mounted{}, err
	}
	bundle, err := c.clients.CoreV1().ConfigMaps(controlplane.SystemNamespace).Get(ctx, certificates.BundleName,
		metav1.GetOptions{})
	if err != nil {
		return mounted{}, err
	}
	file := func(name string) string { return filepath.Join(c.ws.tmp, name) }
	m := mounted{certificate: file("tls.crt"), key: file("tls.key"), authority: file("apikey-ca.crt")}
	authority := []byte(bundle.Data[certificates.BundleKey])
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return mounted{}, fmt.Errorf("the ConfigMap %s has no certificate", certificates.BundleName)
	}
	m.trust = &tls.Config{RootCAs: roots, ServerName: guide.VerifierName, MinVersion: tls.VersionTLS12}
	return m, errors.Join(
		os.WriteFile(m.certificate, secret.Data["tls.crt"], 0o600), os.WriteFile(m.key, secret.Data["tls.key"], 0o600),
		os.WriteFile(m.authority, authority, 0o600))
}
