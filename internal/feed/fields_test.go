package feed

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// ignored are the fields of spec and status that a verifier does not read, by kind. Each has a reason why no request is
// wrongly allowed because of that.
var ignored = map[string]map[string]string{
	"ApiKey": {
		"spec.displayName":                       "for people",
		"spec.rotation.every":                    "the controller replaces tokens; a replaced one has validUntil",
		"spec.rotation.overlap":                  "the controller replaces tokens; a replaced one has validUntil",
		"spec.secret.name":                       "the verifier has nothing to do with Secrets",
		"spec.secret.labels":                     "the verifier has nothing to do with Secrets",
		"spec.secret.annotations":                "the verifier has nothing to do with Secrets",
		"spec.secret.data":                       "the verifier has nothing to do with Secrets",
		"spec.digest.sha256":                     "only what is granted counts: status.credentials has the digest",
		"spec.digest.prefix":                     "for people",
		"status.conditions[].message":            "for people",
		"status.conditions[].observedGeneration": "a condition that refuses counts whichever spec it is about",
		"status.conditions[].lastTransitionTime": "for people and for the controller's metrics",
		"status.observedGeneration":              "spec and status each refuse on their own, whatever the controller saw",
		"status.prefix":                          "for people",
		"status.expires":                         "for people; status.expiresTime is read",
		"status.nextRotationTime":                "for people",
		"status.lastHandledRotateAt":             "the controller's own",
		"status.secretName":                      "the verifier has nothing to do with Secrets",
		"status.binding.name":                    "the verifier has nothing to do with Secrets",
	},
	"Tenant": {
		"status.conditions[].type":               "the verifier reads spec.state, with or without a controller",
		"status.conditions[].status":             "the verifier reads spec.state, with or without a controller",
		"status.conditions[].observedGeneration": "the verifier reads spec.state, with or without a controller",
		"status.conditions[].lastTransitionTime": "for people",
		"status.conditions[].reason":             "the verifier reads spec.state, with or without a controller",
		"status.conditions[].message":            "for people",
		"status.observedGeneration":              "spec counts, whether or not the controller has caught up",
		"status.activeKeys[].uid":                "the quota bounds how many keys are issued; one that is issued works",
		"status.activeKeys[].namespace":          "the quota bounds how many keys are issued; one that is issued works",
		"status.activeKeys[].name":               "the quota bounds how many keys are issued; one that is issued works",
		"status.activeKeys[].reservedTime":       "the quota bounds how many keys are issued; one that is issued works",
		"status.keys":                            "for people",
	},
	"AccessPolicy": {
		"status.conditions[].type":               "the verifier compiles the rules itself",
		"status.conditions[].status":             "the verifier compiles the rules itself",
		"status.conditions[].observedGeneration": "the verifier compiles the rules itself",
		"status.conditions[].lastTransitionTime": "for people",
		"status.conditions[].reason":             "the verifier compiles the rules itself",
		"status.conditions[].message":            "for people",
		"status.observedGeneration":              "spec counts, whether or not the controller has caught up",
		"status.rules":                           "for people",
	},
}

// TestNoFieldIsForgotten checks that each field of spec and status is read, or is ignored for a reason that is given
// above. A field that restricts a key and is not read here would not be enforced.
func TestNoFieldIsForgotten(t *testing.T) {
	for kind, test := range map[string]struct {
		object runtime.Object
		read   objectReader
	}{
		"ApiKey":       {&keysv1alpha1.ApiKey{}, readKey},
		"Tenant":       {&keysv1alpha1.Tenant{}, readTenant},
		"AccessPolicy": {&keysv1alpha1.AccessPolicy{}, readPolicy},
	} {
		fill(test.object)
		before := decoded(t, test.object, test.read)
		seen := map[string]bool{}
		for n, field := range leaves(test.object) {
			seen[field.path] = true
			changed := test.object.DeepCopyObject()
			set(leaves(changed)[n].value, 2)
			read := !reflect.DeepEqual(before, decoded(t, changed, test.read))
			why := ignored[kind][field.path]
			switch {
			case !read && why == "":
				t.Errorf("%s: %s is not read, so it is not enforced: read it in objects.go, or say above why it is ignored",
					kind, field.path)
			case read && why != "":
				t.Errorf("%s: %s is read, but listed as ignored", kind, field.path)
			}
		}
		for path := range ignored[kind] {
			if !seen[path] {
				t.Errorf("%s has no field %s, which is listed as ignored", kind, path)
			}
		}
	}
}

// decoded returns an object as a reader reads it.
func decoded(t *testing.T, object runtime.Object, read objectReader) runtime.Object {
	t.Helper()
	content, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	part, err := read(content)
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// fill gives every field of spec and status a value, and every list one element.
func fill(object runtime.Object) {
	for _, field := range leaves(object) {
		set(field.value, 1)
	}
}

// leaf is a field without fields of its own.
type leaf struct {
	path  string
	value reflect.Value
}

// leaves returns the fields of an object's spec and status. It allocates pointers and list elements on the way to them.
func leaves(object runtime.Object) []leaf {
	var all []leaf
	whole := reflect.ValueOf(object).Elem()
	for _, part := range []string{"Spec", "Status"} {
		all = appendLeaves(all, strings.ToLower(part), whole.FieldByName(part))
	}
	return all
}

func appendLeaves(all []leaf, path string, value reflect.Value) []leaf {
	switch value.Interface().(type) {
	case metav1.Time, metav1.MicroTime:
		return append(all, leaf{path, value})
	}
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() {
			value.Set(reflect.New(value.Type().Elem()))
		}
		return appendLeaves(all, path, value.Elem())
	case reflect.Slice:
		if value.Len() == 0 {
			value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		}
		return appendLeaves(all, path+"[]", value.Index(0))
	case reflect.Struct:
		for i := range value.NumField() {
			name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
			all = appendLeaves(all, path+"."+name, value.Field(i))
		}
		return all
	}
	return append(all, leaf{path, value})
}

// set gives a field a value that depends on a number.
func set(value reflect.Value, number int) {
	at := time.Date(2026, time.March, number, 12, 0, 0, 0, time.UTC)
	switch value.Interface().(type) {
	case metav1.Time:
		value.Set(reflect.ValueOf(metav1.NewTime(at)))
		return
	case metav1.MicroTime:
		value.Set(reflect.ValueOf(metav1.NewMicroTime(at)))
		return
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString(fmt.Sprintf("value%d", number))
	case reflect.Int32, reflect.Int64:
		value.SetInt(int64(number))
	case reflect.Bool:
		value.SetBool(number == 1)
	case reflect.Map:
		element := reflect.New(value.Type().Elem()).Elem()
		set(element, number)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(reflect.ValueOf("name"), element)
	default:
		panic(fmt.Sprintf("a field of type %s: add a case that sets it", value.Type()))
	}
}
