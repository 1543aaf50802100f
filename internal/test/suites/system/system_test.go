// Package system runs the controller and the verifier as they are run in production, as two processes with the rights of
// config/rbac against a real control plane, and looks at them from outside.
package system_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const patience = 30 * time.Second

// installation is a control plane with the controller and the verifier beside it.
type installation struct {
	cp                   *controlplane.ControlPlane
	controller, verifier *program.Process
	controllerMetrics    string
	verifierMetrics      string
	verifierURL          string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	cp := install.ControlPlane(t, controlplane.Options{}, "rbac", "verifier/canary.yaml")
	i := &installation{cp: cp, controllerMetrics: program.FreeAddress(t), verifierMetrics: program.FreeAddress(t)}
	i.controller = install.Controller(t, cp, program.Build(t, "./cmd/controller"), "--zap-log-level=debug", "--metrics-bind-address="+i.controllerMetrics)
	health, address := program.FreeAddress(t), program.FreeAddress(t)
	i.verifierURL = "http://" + address
	i.verifier = program.Start(t, program.Build(t, "./cmd/verifier"),
		"--kubeconfig="+install.Kubeconfig(t, cp, "apikey-verifier"), "--zap-log-level=debug", "--name=verifier-1",
		"--metrics-bind-address="+i.verifierMetrics, "--health-probe-bind-address="+health,
		"--http-bind-address="+address, "--grpc-bind-address="+program.FreeAddress(t), "--insecure-plain-text")
	program.WaitUntil(t, patience, "a ready verifier", program.Answers(t.Context(), "http://"+health+"/readyz"))
	return i
}

// mint creates a key in a tenant of its own and waits until it is Ready.
func (i *installation) mint(t *testing.T, change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	t.Helper()
	tenant := fixture.Name("tenant")
	key := fixture.ApiKey(fixture.Name("ns"), "key", change...)
	for _, object := range []client.Object{fixture.Tenant(tenant), fixture.Namespace(key.Namespace, tenant), key} {
		if err := i.cp.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	i.await(t, key, keysv1alpha1.ReasonReady)
	return key
}

// update changes an object as it is now: verifiers write when a key was used, and the controller writes too.
func update[T client.Object](t *testing.T, i *installation, object T, change func(T)) {
	t.Helper()
	if err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := i.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return i.cp.Client.Update(t.Context(), object)
	}); err != nil {
		t.Fatal(err)
	}
}

// await waits until a key has come to what a reason names: by Ready, or by a condition of that name.
func (i *installation) await(t *testing.T, key *keysv1alpha1.ApiKey, reason string) {
	t.Helper()
	program.WaitUntil(t, patience, "key "+reason, func() error {
		if err := i.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
			return err
		}
		ready := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady)
		if (ready == nil || ready.Reason != reason) && !apimeta.IsStatusConditionTrue(key.Status.Conditions, reason) {
			return fmt.Errorf("conditions %v", key.Status.Conditions)
		}
		return nil
	})
}

func (i *installation) tokenOf(t *testing.T, key *keysv1alpha1.ApiKey) string {
	t.Helper()
	secret := &corev1.Secret{}
	if err := i.cp.Client.Get(t.Context(), client.ObjectKey{Namespace: key.Namespace, Name: key.Status.SecretName}, secret); err != nil {
		t.Fatal(err)
	}
	return string(secret.Data["token"])
}

// answer is what the verifier said.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask asks the verifier as nginx does.
func (i *installation) ask(ctx context.Context, token, tenantID, method, target string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.verifierURL+"/auth/nginx", http.NoBody)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("X-Original-URL", "https://"+fixture.Host+target)
	request.Header.Set("X-Original-Method", method)
	request.Header.Set("X-Tenant-ID", tenantID)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: string(body)}, err
}

// eventually asks until the answer has a status.
func (i *installation) eventually(t *testing.T, token, tenantID, method, target string, status int) answer {
	t.Helper()
	var last answer
	program.WaitUntil(t, patience, fmt.Sprintf("%s %s: %d", method, target, status), func() (err error) {
		last, err = i.ask(t.Context(), token, tenantID, method, target)
		if err == nil && last.status != status {
			err = fmt.Errorf("%d %s", last.status, last.body)
		}
		return err
	})
	return last
}
