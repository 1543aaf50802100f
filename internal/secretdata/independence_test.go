package secretdata_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// withToken returns fields with a random token of the same format.
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

// TestNothingDependsOnTheToken renders templates with many tokens. Whether they fail, with which message, and the
// length of the output must be the same for all: people who may not read the token can see these.
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

// outcome returns what people who can't read the Secret can see of a rendering.
func outcome(t *testing.T, text string, f *secretdata.Fields) string {
	t.Helper()
	rendered, err := secretdata.Render(single(text), f)
	blind := *f
	blind.Token, blind.Authorization, blind.Prefix = "", "", ""
	if checked := secretdata.Check(single(text), &blind); fmt.Sprint(checked) != fmt.Sprint(err) {
		t.Fatalf("%.80q: without the token %v, with it %v", text, checked, err)
	}
	return fmt.Sprint(len(rendered["x"]), " bytes, ", err)
}

// longestToken is the length of the longest token: the longest format that a controller accepts, and 57 characters.
const longestToken = 32 + 57

// TestTheLongestTokenHasRoom checks that templates that pass Check never render to more than MaxRendered, even with the
// longest token.
func TestTheLongestTokenHasRoom(t *testing.T) {
	format := token.Format(strings.Repeat("f", 31) + "_")
	if err := format.Validate(); err != nil {
		t.Fatal(err)
	}
	if ("f" + format).Validate() == nil {
		t.Fatal("there are longer formats")
	}
	f := someFields()
	f.Token = string(format) + strings.Repeat("9", 57)
	f.Authorization, f.Prefix = "Bearer "+f.Token, f.Token[:longestToken-49]
	for _, text := range []string{"{{.Token}}", "{{.Authorization|base64}}", "{{.Prefix|json}}"} {
		templates := map[string]keysv1alpha1.Template{}
		for n := 0; ; n++ {
			templates[fmt.Sprint(n)] = repeat(text, maxCharacters)
			rendered, err := secretdata.Render(templates, f)
			size := 0
			for _, data := range rendered {
				size += len(data)
			}
			if size > secretdata.MaxRendered {
				t.Fatalf("%s renders to %d bytes", text, size)
			}
			if err != nil {
				break
			}
		}
	}
}

// TestRoomDoesNotDependOnTheToken fills the limit with what follows from the token, in every encoding: where the limit
// is exceeded does not depend on the token.
func TestRoomDoesNotDependOnTheToken(t *testing.T) {
	for _, field := range []string{".Token", ".Authorization", ".Prefix"} {
		for _, encoder := range []string{"", "|json", "|base64", "|urlquery", "|html", "|shell"} {
			sameRoom(t, "{{"+field+encoder+"}}")
		}
	}
}

func sameRoom(t *testing.T, action string) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	templates := map[string]keysv1alpha1.Template{}
	for i := range 90 {
		templates[fmt.Sprint(i)] = repeat(action, 300)
	}
	_, err := secretdata.Render(templates, withToken(random))
	if err == nil {
		t.Fatalf("%s: there is room for all of it", action)
	}
	others := []*secretdata.Fields{someFields(), someFields(), someFields()}
	// Of another length, and encoded differently.
	others[1].Token, others[1].Prefix = strings.Repeat("'", longestToken), strings.Repeat("'", 40)
	others[1].Authorization = "Bearer " + others[1].Token
	others[2].Token, others[2].Authorization, others[2].Prefix = "", "\x00", ""
	for range 3 {
		others = append(others, withToken(random))
	}
	for _, f := range others {
		if _, other := secretdata.Render(templates, f); fmt.Sprint(other) != err.Error() {
			t.Errorf("%s: %v, and %v", action, err, other)
		}
	}
}
