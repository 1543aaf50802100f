package keystate_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

func TestIsCanary(t *testing.T) {
	for name, test := range map[string]struct {
		labels map[string]string
		want   bool
	}{
		"no labels":             {nil, false},
		"another label":         {map[string]string{"app": "canary"}, false},
		"the label":             {map[string]string{keysv1alpha1.CanaryLabel: "true"}, true},
		"the label, no value":   {map[string]string{keysv1alpha1.CanaryLabel: ""}, true},
		"the label, as a false": {map[string]string{keysv1alpha1.CanaryLabel: "false"}, true},
	} {
		key := working(func(k *keysv1alpha1.ApiKey) { k.Labels = test.labels })
		if got := keystate.IsCanary(key); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if keystate.IsCanary(working(func(k *keysv1alpha1.ApiKey) { k.Name = keysv1alpha1.CanaryName })) {
		t.Error("a key is the canary by its name, which anybody may use in a namespace of theirs")
	}
}

func TestWhoIsFirst(t *testing.T) {
	key := func(name string, age time.Duration, root int32) *keysv1alpha1.ApiKey {
		namespace, name, _ := strings.Cut(name, "/")
		return &keysv1alpha1.ApiKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: *at(-age)},
			Status:     keysv1alpha1.ApiKeyStatus{Credentials: []keysv1alpha1.Credential{{Root: root}}},
		}
	}
	for name, test := range map[string]struct {
		first, second *keysv1alpha1.ApiKey
		// byAge is how the two compare by their age alone.
		byAge int
	}{
		"the older":                       {key("b/b", day, 0), key("a/a", 0, 0), -1},
		"the name, in the same second":    {key("shop/a", 0, 0), key("shop/b", 0, 0), -1},
		"less than a second apart":        {key("shop/a", -time.Millisecond, 0), key("shop/b", 0, 0), -1},
		"the namespace comes first":       {key("a/z", 0, 0), key("b/a", 0, 0), -1},
		"the two are one text":            {key("a-b/x", 0, 0), key("a/x", 0, 0), -1},
		"the minted one is younger":       {key("b/b", 0, 1), key("a/a", day, 0), 1},
		"the older of two minted by name": {key("a/a", 0, 2), key("b/b", 0, 1), -1},
	} {
		if got := keystate.CompareAge(test.first, test.second); got != test.byAge ||
			keystate.CompareAge(test.second, test.first) != -test.byAge {
			t.Errorf("%s: by age %d", name, got)
		}
		if !keystate.Precedes(test.first, test.second) || keystate.Precedes(test.second, test.first) {
			t.Errorf("%s: the wrong one is first", name)
		}
	}
	if keystate.CompareAge(working(), working()) != 0 || keystate.Precedes(working(), working()) {
		t.Error("a key precedes itself")
	}
}

func TestDigests(t *testing.T) {
	digits := strings.Repeat("ab", 32)
	key := working(func(k *keysv1alpha1.ApiKey) { k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digits} })
	if got := keystate.RegisteredDigest(key); got != "sha256:"+digits {
		t.Errorf("registers %q", got)
	}
	if got := keystate.RegisteredDigest(working()); got != "" {
		t.Errorf("a minted key registers %q", got)
	}
	if got := keystate.ClaimedDigests(key); len(got) != 1 || got[0] != key.Status.Credentials[0].Digest {
		t.Errorf("claims %q", got)
	}
}
