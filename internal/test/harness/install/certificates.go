package install

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// Mounted waits until a Secret of type kubernetes.io/tls exists, as the kubelet does before it starts a pod, and writes
// its entries to files, as a volume has them. It returns the flags that name the files.
func Mounted(t testing.TB, cp *controlplane.ControlPlane, name string) []string {
	t.Helper()
	folder := t.TempDir()
	Mount(t, cp, name, folder)
	return []string{"--tls-cert-file=" + filepath.Join(folder, "tls.crt"),
		"--tls-private-key-file=" + filepath.Join(folder, "tls.key")}
}

// Mount waits until a Secret exists, and writes its entries to files in a folder.
func Mount(t testing.TB, cp *controlplane.ControlPlane, name, folder string) {
	t.Helper()
	secret := &corev1.Secret{}
	program.WaitUntil(t, Timeout, "the Secret "+name, func() error {
		return cp.Client.Get(t.Context(), client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: name}, secret)
	})
	for entry, content := range secret.Data {
		if err := os.WriteFile(filepath.Join(folder, entry), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Trust returns a client's TLS configuration that trusts the authorities that the controller publishes, and a server of
// this name. It waits until there are any.
func Trust(t testing.TB, cp *controlplane.ControlPlane, serverName string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	program.WaitUntil(t, Timeout, "the ConfigMap apikey-ca", func() error {
		bundle := &corev1.ConfigMap{}
		err := cp.Client.Get(t.Context(), client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: "apikey-ca"},
			bundle)
		if err == nil && !roots.AppendCertsFromPEM([]byte(bundle.Data["ca.crt"])) {
			err = errors.New("it has no certificate")
		}
		return err
	})
	return &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS12}
}
