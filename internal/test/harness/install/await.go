package install

import (
	"fmt"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// Await waits until a condition of a key is True, and returns the key as it is then.
func Await(t testing.TB, cp *controlplane.ControlPlane, name client.ObjectKey, condition string,
	patience time.Duration) *keysv1alpha1.ApiKey {
	t.Helper()
	key := &keysv1alpha1.ApiKey{}
	program.WaitUntil(t, patience, name.Name+" "+condition, func() error {
		if err := cp.Client.Get(t.Context(), name, key); err != nil {
			return err
		}
		if !apimeta.IsStatusConditionTrue(key.Status.Conditions, condition) {
			return fmt.Errorf("conditions %v", key.Status.Conditions)
		}
		return nil
	})
	return key
}
