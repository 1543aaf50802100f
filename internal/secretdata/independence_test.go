package secretdata_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
)

// withToken returns fields with another token of the same format.
func withToken(random *rand.Rand) *secretdata.Fields {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	token := []byte("nxc_live_")
	for range 57 {
		token = append(token, digits[random.IntN(len(digits))])
	}
	f := someFields()
	f.Token, f.Authorization = string(token), "Bearer "+string(token)
	return f
}

// TestNothingDependsOnTheToken renders templates with many tokens. Whether they fail, with which message, and how long what they render
// to is, must be the same for all: each of them is seen by who may not read the token.
func TestNothingDependsOnTheToken(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, text := range append(attacks(), seeds...) {
		want := outcome(t, text, withToken(random))
		for range 50 {
			if got := outcome(t, text, withToken(random)); got != want {
				t.Fatalf("%.80q depends on the token: %s, and %s", text, want, got)
			}
		}
	}
}

// outcome is what others than readers of the Secret can see of a rendering.
func outcome(t *testing.T, text string, f *secretdata.Fields) string {
	t.Helper()
	rendered, err := secretdata.Render(one(text), f)
	blind := *f
	blind.Token, blind.Authorization, blind.Prefix = "", "", ""
	if checked := secretdata.Check(one(text), &blind); fmt.Sprint(checked) != fmt.Sprint(err) {
		t.Fatalf("%.80q: without the token %v, with it %v", text, checked, err)
	}
	return fmt.Sprint(len(rendered["x"]), " bytes, ", err)
}

// TestRoomDoesNotDependOnTheToken fills the room with the token in every encoding: where it ends is decided without it.
func TestRoomDoesNotDependOnTheToken(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, encoder := range []string{"", "|json", "|base64", "|urlquery", "|html", "|shell"} {
		templates := map[string]keysv1alpha1.Template{}
		for i := range 60 {
			templates[fmt.Sprint(i)] = repeat("{{.Authorization"+encoder+"}}", 150)
		}
		_, err := secretdata.Render(templates, withToken(random))
		if err == nil {
			t.Fatal("there is room for all of it")
		}
		for range 20 {
			if _, other := secretdata.Render(templates, withToken(random)); fmt.Sprint(other) != err.Error() {
				t.Errorf("%s: %v, and %v", encoder, err, other)
			}
		}
	}
}
