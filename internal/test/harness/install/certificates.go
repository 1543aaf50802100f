package install

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const certificatePatience = time.Minute

// Mounted writes what a Secret of type kubernetes.io/tls holds to files, as its volume has them, once it is there:
// until then the kubelet has a pod wait. It returns the flags that name them.
func Mounted(t testing.TB, cp *controlplane.ControlPlane, name string) []string {
	t.Helper()
	folder := t.TempDir()
	Mount(t, cp, name, folder)
	return []string{"--tls-cert-file=" + filepath.Join(folder, "tls.crt"),
		"--tls-private-key-file=" + filepath.Join(folder, "tls.key")}
}

// Mount does so to a folder.
func Mount(t testing.TB, cp *controlplane.ControlPlane, name, folder string) {
	t.Helper()
	secret := &corev1.Secret{}
	program.WaitUntil(t, certificatePatience, "the Secret "+name, func() error {
		return cp.Client.Get(t.Context(), client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: name}, secret)
	})
	for entry, content := range secret.Data {
		if err := os.WriteFile(filepath.Join(folder, entry), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Trust returns who trusts the authorities that the controller publishes, and a server of this name. It waits until
// there are any.
func Trust(t testing.TB, cp *controlplane.ControlPlane, serverName string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	program.WaitUntil(t, certificatePatience, "the ConfigMap apikey-ca", func() error {
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

// AnswersTLS returns a condition that a program answers 200 at an address, by a certificate that the controller has
// signed for a server's name.
func AnswersTLS(t testing.TB, cp *controlplane.ControlPlane, serverName, address, path string) func() error {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: Trust(t, cp, serverName)}
	t.Cleanup(transport.CloseIdleConnections)
	return program.AnswersTo(t.Context(), &http.Client{Transport: transport}, "https://"+address+path)
}
