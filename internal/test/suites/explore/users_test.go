package explore_test

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// create creates an object that the history doesn't have yet.
func (r *run) create(object client.Object) { r.must(r.testbed.cp.Client.Create(r.ctx, object)) }

// createKey creates a key as a user.
func (r *run) createKey(name string, change ...func(*keysv1alpha1.ApiKey)) {
	r.create(fixture.ApiKey(r.namespace, name, change...))
	if r.latest().key(name) == nil && !slices.Contains(r.names, name) {
		r.names = append(r.names, name)
	}
	r.observe(keyKind)
}

// editKey changes a key as a user.
func (r *run) editKey(name string, change func(*keysv1alpha1.ApiKey)) {
	key := r.latest().key(name).DeepCopy()
	stored := key.DeepCopy()
	change(key)
	r.must(r.testbed.cp.Client.Patch(r.ctx, key, client.MergeFrom(stored)))
	r.observe(keyKind)
}

func (r *run) deleteKey(name string) {
	r.must(r.testbed.cp.Client.Delete(r.ctx, r.latest().key(name).DeepCopy()))
	r.observe(keyKind)
}

// askForRotation sets the annotation that asks for a rotation.
func (r *run) askForRotation(name string) {
	r.editKey(name, func(k *keysv1alpha1.ApiKey) {
		k.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: fixture.Name("now")}
	})
}

func (r *run) revoke(name string) {
	r.editKey(name, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
}

// editSecret lets a user change a key's Secret, if it exists. Until the controller has restored it, its content is the
// user's doing.
func (r *run) editSecret(name string, change func(*corev1.Secret)) {
	secret := r.latest().secret(name).DeepCopy()
	if secret == nil {
		return
	}
	change(secret)
	r.must(r.testbed.cp.Client.Update(r.ctx, secret))
	r.witness.altered[name] = secret.ResourceVersion
	r.observe(secretKind)
}

func (r *run) deleteSecret(name string) {
	if secret := r.latest().secret(name); secret != nil {
		r.must(r.testbed.cp.Client.Delete(r.ctx, secret.DeepCopy()))
		r.observe(secretKind)
	}
}

// foreignSecret creates somebody else's Secret.
func (r *run) foreignSecret(name string) {
	r.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name, Labels: map[string]string{"team": "billing"}},
		Data:       map[string][]byte{"password": []byte("not ours")},
	})
	r.observe(secretKind)
	text, err := json.Marshal(r.latest().secret(name))
	r.must(err)
	r.witness.foreign[name] = string(text)
}

// move gives the namespace the labels of another tenant.
func (r *run) move(tenant int) {
	namespace := r.latest().namespace.DeepCopy()
	namespace.Labels = fixture.Namespace(namespace.Name, r.tenants[tenant]).Labels
	r.must(r.testbed.cp.Client.Update(r.ctx, namespace))
	r.observe(namespaceKind)
}

// collect acts as the garbage collector: it deletes Secrets whose owner is gone.
func (r *run) collect() {
	for i := range r.latest().secrets {
		secret := r.latest().secrets[i].DeepCopy()
		if owner := metav1.GetControllerOf(secret); owner != nil && r.latest().keyByUID(owner.UID) == nil {
			r.must(r.testbed.cp.Client.Delete(r.ctx, secret))
		}
	}
	r.observe(secretKind)
	r.check()
}
