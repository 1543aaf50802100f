package keys

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Field managers: the names under which the API server records a person's changes, from the command line and from the
// page. None may begin with "kubectl": Flux reverts whatever a manager of such a name has written.
const (
	FieldManager     = "apikey-cli"
	PageFieldManager = "apikey-console"
)

// pageSize is how many objects a list request asks for.
const pageSize = 500

// Client talks to the API server, with the rights of one person.
type Client struct {
	api     client.WithWatch
	manager client.FieldOwner
}

// NewClient returns a client for the command line.
func NewClient(config *rest.Config) (*Client, error) { return newClient(config, FieldManager) }

// NewPageClient returns a client for the page.
func NewPageClient(config *rest.Config) (*Client, error) { return newClient(config, PageFieldManager) }

func newClient(config *rest.Config, manager client.FieldOwner) (*Client, error) {
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme(), Mapper: kinds()})
	if err != nil {
		return nil, err
	}
	return &Client{api: api, manager: manager}, nil
}

// Scheme knows the kinds that this package reads and writes.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		keysv1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme,
		authenticationv1.AddToScheme, authorizationv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme)) // Lists of types that are fixed when this is compiled.
	}
	return scheme
}

// Clients share these; neither changes.
var (
	scheme = sync.OnceValue(Scheme)
	kinds  = sync.OnceValue(mapper)
)

// mapper returns a fixed RESTMapper of the same kinds, so that no discovery requests are needed.
func mapper() apimeta.RESTMapper {
	m := apimeta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Event", "Pod", "Secret"} {
		m.Add(corev1.SchemeGroupVersion.WithKind(kind), apimeta.RESTScopeNamespace)
	}
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), apimeta.RESTScopeRoot)
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"} {
		m.Add(appsv1.SchemeGroupVersion.WithKind(kind), apimeta.RESTScopeNamespace)
	}
	for _, kind := range []string{"Job", "CronJob"} {
		m.Add(batchv1.SchemeGroupVersion.WithKind(kind), apimeta.RESTScopeNamespace)
	}
	m.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), apimeta.RESTScopeRoot)
	m.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"), apimeta.RESTScopeRoot)
	for _, own := range []struct {
		kind, plural string
		scope        apimeta.RESTScope
	}{
		{"ApiKey", "apikeys", apimeta.RESTScopeNamespace},
		{"Tenant", "tenants", apimeta.RESTScopeRoot},
		{"AccessPolicy", "accesspolicies", apimeta.RESTScopeRoot},
	} {
		plural := keysv1alpha1.GroupVersion.WithResource(own.plural)
		m.AddSpecific(keysv1alpha1.GroupVersion.WithKind(own.kind), plural, plural, own.scope)
	}
	return m
}

// Selection selects keys. The zero value selects all keys of all namespaces.
type Selection struct {
	// Namespace is blank for all.
	Namespace string
	Labels    labels.Selector
	Fields    fields.Selector
}

// List returns the keys of a selection, in the API server's order: by namespace and name. It leaves out the verifiers'
// canary.
func (c *Client) List(ctx context.Context, selection Selection) ([]keysv1alpha1.ApiKey, error) {
	var all []keysv1alpha1.ApiKey
	var page keysv1alpha1.ApiKeyList
	for {
		err := c.api.List(ctx, &page, &client.ListOptions{
			Namespace: selection.Namespace, LabelSelector: selection.Labels, FieldSelector: selection.Fields,
			Limit: pageSize, Continue: page.Continue,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, withoutCanary(page.Items)...)
		if page.Continue == "" {
			return all, nil
		}
		page = keysv1alpha1.ApiKeyList{ListMeta: metav1.ListMeta{Continue: page.Continue}}
	}
}

// withoutCanary removes the key through which verifiers prove their freshness: it belongs to nobody.
func withoutCanary(all []keysv1alpha1.ApiKey) []keysv1alpha1.ApiKey {
	return slices.DeleteFunc(all, func(key keysv1alpha1.ApiKey) bool { return keystate.IsCanary(&key) })
}

// Get returns a key.
func (c *Client) Get(ctx context.Context, namespace, name string) (*keysv1alpha1.ApiKey, error) {
	key := &keysv1alpha1.ApiKey{}
	return key, c.api.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, key)
}

// Tenants returns all tenants.
func (c *Client) Tenants(ctx context.Context) ([]keysv1alpha1.Tenant, error) {
	var list keysv1alpha1.TenantList
	err := c.api.List(ctx, &list)
	return list.Items, err
}

// Tenant returns the tenant of a name.
func (c *Client) Tenant(ctx context.Context, name string) (*keysv1alpha1.Tenant, error) {
	tenant := &keysv1alpha1.Tenant{}
	return tenant, c.api.Get(ctx, types.NamespacedName{Name: name}, tenant)
}

// Policies returns all access policies.
func (c *Client) Policies(ctx context.Context) ([]keysv1alpha1.AccessPolicy, error) {
	var list keysv1alpha1.AccessPolicyList
	err := c.api.List(ctx, &list)
	return list.Items, err
}

// Namespace returns the labels of a namespace.
func (c *Client) Namespace(ctx context.Context, name string) (map[string]string, error) {
	namespace := &corev1.Namespace{}
	err := c.api.Get(ctx, types.NamespacedName{Name: name}, namespace)
	return namespace.Labels, err
}

// Namespaces returns all namespaces.
func (c *Client) Namespaces(ctx context.Context) ([]corev1.Namespace, error) {
	var list corev1.NamespaceList
	err := c.api.List(ctx, &list)
	return list.Items, err
}

// DryRun makes the API server check a change without making it.
type DryRun bool

func (d DryRun) create(manager client.FieldOwner) []client.CreateOption {
	if d {
		return []client.CreateOption{client.DryRunAll, manager}
	}
	return []client.CreateOption{manager}
}

func (d DryRun) patch(manager client.FieldOwner) []client.PatchOption {
	if d {
		return []client.PatchOption{client.DryRunAll, manager}
	}
	return []client.PatchOption{manager}
}

// ExistsError reports that another key has the name.
type ExistsError struct {
	Key *keysv1alpha1.ApiKey
}

// Error implements error.
func (e *ExistsError) Error() string {
	return fmt.Sprintf("ApiKey %s/%s exists, and asks for something else", e.Key.Namespace, e.Key.Name)
}

// Create creates a key. If a key of that name exists and asks for the same, Create succeeds and reports that it
// existed. If it asks for something else, it is left alone, and the error is an *ExistsError.
func (c *Client) Create(ctx context.Context, key *keysv1alpha1.ApiKey, dry DryRun) (existed bool, err error) {
	err = c.api.Create(ctx, key, dry.create(c.manager)...)
	if !apierrors.IsAlreadyExists(err) {
		return false, err
	}
	existing, err := c.Get(ctx, key.Namespace, key.Name)
	if err != nil {
		return false, err
	}
	if !sameRequest(&existing.Spec, &key.Spec) {
		return true, &ExistsError{Key: existing}
	}
	existing.DeepCopyInto(key)
	return true, nil
}

// SetState sets spec.state, and updates key to the API server's answer. The error is a conflict if another key has
// taken the name since key was read.
func (c *Client) SetState(
	ctx context.Context, key *keysv1alpha1.ApiKey, state keysv1alpha1.ApiKeyState, dry DryRun,
) error {
	return c.patch(ctx, key, dry, "spec", map[string]any{"state": state})
}

// Rotate requests a rotation. The request must be a value that was not used for this key before; Rotated is the goal
// that waits for it.
func (c *Client) Rotate(ctx context.Context, key *keysv1alpha1.ApiKey, request string, dry DryRun) error {
	return c.patch(ctx, key, dry, "metadata",
		map[string]any{"annotations": map[string]string{keysv1alpha1.RotateAtAnnotation: request}})
}

func (c *Client) patch(
	ctx context.Context, key *keysv1alpha1.ApiKey, dry DryRun, part string, change map[string]any,
) error {
	content := map[string]map[string]any{"metadata": {}}
	content[part] = change
	content["metadata"]["uid"] = key.UID
	patch, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return c.api.Patch(ctx, key, client.RawPatch(types.MergePatchType, patch), dry.patch(c.manager)...)
}
