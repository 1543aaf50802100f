package feed

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// everything returns a key with a value in every field. Fields without a special format are filled by reflection.
func everything() *keysv1alpha1.ApiKey {
	at := func(days int) *metav1.Time { return &metav1.Time{Time: noon.AddDate(0, 0, days)} }
	key := &keysv1alpha1.ApiKey{
		TypeMeta: metav1.TypeMeta{APIVersion: "keys.nexuscommerce.io/v1alpha1", Kind: "ApiKey"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "warehouse", Name: "key", UID: "3714240b", ResourceVersion: "4711", Generation: 3,
			CreationTimestamp: *at(0),
			Labels:            map[string]string{"app.kubernetes.io/name": "a", "team": `"{[b`},
			Annotations: map[string]string{
				"kubectl.kubernetes.io/last-applied-configuration": `{"spec":{"state":"Active"},"a":[1,"\\"]}`,
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{
				Manager: "controller", Operation: "Update", APIVersion: "v1", Time: at(1), FieldsType: "FieldsV1",
				FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:credentials":{"k:{\"id\":\"7Hk2PqZx\"}":{".":{}}}}}`),
			}},
		},
	}
	fill(key)
	spec, status := &key.Spec, &key.Status
	spec.DisplayName = `Warehouse "Integration", état \ é`
	spec.Scopes, spec.Expiry = []keysv1alpha1.Scope{"products:read", "orders:*"}, "90d"
	spec.AllowedCIDRs, spec.State = []keysv1alpha1.CIDR{"203.0.113.0/24", "2001:db8::/32"}, keysv1alpha1.ApiKeyActive
	status.TenantID = "3714240b-2e06-4c35-8856-ccc1c096323e"
	status.Scopes, status.AllowedCIDRs = []keysv1alpha1.Scope{"products:read", "orders:read"},
		[]keysv1alpha1.CIDR{"203.0.113.0/24"}
	status.Credentials = []keysv1alpha1.Credential{
		{ID: "7Hk2PqZx", Digest: "sha256:" + strings.Repeat("ab", 32), Root: 1, IssuedTime: *at(0), PublishedTime: at(0),
			ValidUntil: at(9)},
		{ID: "8Hk2PqZx", Digest: "sha256:" + strings.Repeat("cd", 32), Root: 1, IssuedTime: *at(8)},
	}
	status.IssuedTime, status.ExpiresTime, status.LastUsedTime = at(0), at(90), at(3)
	status.Usage = []keysv1alpha1.CredentialUsage{{ID: "7Hk2PqZx", LastUsedTime: *at(3)}}
	status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Ready",
		Message: `It "works", as \ {it} should.`, LastTransitionTime: *at(0)}}
	return key
}

func withCondition(kind, status, reason string) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) {
		k.Status.Conditions = append(k.Status.Conditions,
			metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason,
				LastTransitionTime: metav1.Time{Time: noon}})
	}
}

// relevantFields returns everything that the feed reads of a key, apart from its claims.
func relevantFields(k *keysv1alpha1.ApiKey) []any {
	return []any{
		k.Namespace, k.Name, k.UID, k.ResourceVersion, k.CreationTimestamp, k.DeletionTimestamp, k.Labels, k.Annotations,
		k.Status.Credentials, k.Status.Usage, k.Status.LastUsedTime, keystate.IsCanary(k), isAwaited(k),
		keystate.RefusalOf(k),
	}
}

// TestReadKeyMissesNothing compares what readKey reads with what encoding/json reads.
func TestReadKeyMissesNothing(t *testing.T) {
	for name, change := range map[string]func(*keysv1alpha1.ApiKey){
		"everything":           func(*keysv1alpha1.ApiKey) {},
		"nothing":              func(k *keysv1alpha1.ApiKey) { *k = keysv1alpha1.ApiKey{} },
		"no status":            func(k *keysv1alpha1.ApiKey) { k.Status = keysv1alpha1.ApiKeyStatus{} },
		"suspended":            func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended },
		"revoked in spec":      func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked },
		"revoked in status":    withCondition(keysv1alpha1.ConditionRevoked, "True", keysv1alpha1.ReasonRevoked),
		"effectively":          withCondition(keysv1alpha1.ConditionRevocationEffective, "True", keysv1alpha1.ReasonRevoked),
		"expired":              withCondition(keysv1alpha1.ConditionExpired, "True", "Expired"),
		"tenant changed":       withCondition(keysv1alpha1.ConditionAdmitted, "False", keysv1alpha1.ReasonTenantChanged),
		"deleting":             func(k *keysv1alpha1.ApiKey) { k.DeletionTimestamp = &metav1.Time{Time: noon} },
		"never expires":        func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry, k.Status.ExpiresTime = "", nil },
		"no allowlist in spec": func(k *keysv1alpha1.ApiKey) { k.Spec.AllowedCIDRs = nil },
		"no allowlist granted": func(k *keysv1alpha1.ApiKey) { k.Status.AllowedCIDRs = nil },
		"nothing published":    func(k *keysv1alpha1.ApiKey) { k.Status.Credentials[0].PublishedTime = nil },
		"one credential":       func(k *keysv1alpha1.ApiKey) { k.Status.Credentials = k.Status.Credentials[:1] },
		"not a digest":         func(k *keysv1alpha1.ApiKey) { k.Status.Credentials[0].Digest = "sha256:" },
		"the canary": func(k *keysv1alpha1.ApiKey) {
			k.Labels[keysv1alpha1.CanaryLabel] = "true"
			k.Annotations[keysv1alpha1.ProbeAnnotationPrefix+"a"] = `{"nonce":"x"}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			key := everything()
			change(key)
			content, err := json.Marshal(key)
			if err != nil {
				t.Fatal(err)
			}
			indented, err := json.MarshalIndent(key, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			whole := &keysv1alpha1.ApiKey{}
			if err := json.Unmarshal(content, whole); err != nil {
				t.Fatal(err)
			}
			for _, text := range [][]byte{content, indented} {
				read, err := readKey(text)
				if err != nil {
					t.Fatal(err)
				}
				part := read.(*keysv1alpha1.ApiKey)
				if got, want := index.ClaimsOf(part), index.ClaimsOf(whole); !reflect.DeepEqual(got, want) {
					t.Errorf("claims %+v, want %+v", got, want)
				}
				if got, want := relevantFields(part), relevantFields(whole); !reflect.DeepEqual(got, want) {
					t.Errorf("read %+v, want %+v", got, want)
				}
			}
		})
	}
}

func TestReadEvent(t *testing.T) {
	key, err := json.Marshal(everything())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		line string
		want watch.EventType // blank if it can't be read
	}{
		"added":     {`{"type":"ADDED","object":` + string(key) + `}`, watch.Added},
		"type last": {`{"object":` + string(key) + `,"type":"MODIFIED"}`, watch.Modified},
		"deleted":   {`{"type":"DELETED","object":` + string(key) + `}`, watch.Deleted},
		"bookmark": {`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5",` +
			`"annotations":{"k8s.io/initial-events-end":"true"}}}}`, watch.Bookmark},
		"error":          {`{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}`, watch.Error},
		"nothing":        {``, ""},
		"no object":      {`{"type":"ADDED"}`, ""},
		"another type":   {`{"type":"TURNED","object":{}}`, ""},
		"half of it":     {`{"type":"ADDED","object":` + string(key[:len(key)/2]), ""},
		"no JSON":        {`{type:ADDED}`, ""},
		"a wrong type":   {`{"type":"ADDED","object":{"spec":{"scopes":{"a":1}}}}`, ""},
		"a string":       {`"ADDED"`, ""},
		"text for a key": {`{"type":"ADDED","object":"key"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			event, err := readEvent([]byte(test.line), readKey)
			if (err == nil) != (test.want != "") || err == nil && event.Type != test.want {
				t.Errorf("%s, %v; want %s", event.Type, err, test.want)
			}
		})
	}
}

// TestWireWatch checks that events of all lengths are read, some of them longer than the buffer, up to the end of the
// stream.
func TestWireWatch(t *testing.T) {
	var stream bytes.Buffer
	var want []string
	for i, size := range []int{1, 200_000, 10, 64 << 10, 300_000, 1} {
		key := everything()
		key.Name = strings.Repeat(string(rune('a'+i)), size)
		want = append(want, key.Name)
		content, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		stream.WriteString(`{"type":"ADDED","object":` + string(content) + "}\n")
	}
	stream.WriteString(`{"type":"ADDED","object":{"metadata":{"name":"half`)
	w := watchStream(io.NopCloser(&stream), readKey)
	defer w.Stop()
	var got []string
	for event := range w.ResultChan() {
		got = append(got, event.Object.(*keysv1alpha1.ApiKey).Name)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d events, want %d; or other ones", len(got), len(want))
	}
}

// TestReadEventInParts checks that readEvent returns an error for an event that is cut off, and doesn't panic for one
// that is damaged.
func TestReadEventInParts(t *testing.T) {
	key, err := json.Marshal(everything())
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(`{"type":"ADDED","object":` + string(key) + `}`)
	for i := range line {
		if _, err := readEvent(line[:i], readKey); err == nil {
			t.Errorf("no error for an event that is cut off after %d bytes of %d", i, len(line))
		}
		for _, c := range []byte("\"\\{}[],: \n0") {
			damaged := bytes.Clone(line)
			damaged[i] = c
			_, _ = readEvent(damaged, readKey)
		}
	}
}
