package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// TestReadList checks that complete lists are read, in whatever pieces they arrive, and others are refused.
func TestReadList(t *testing.T) {
	long := `"` + strings.Repeat(`\"{[`, 100_000) + `"`
	for name, test := range map[string]struct {
		list string
		want []string
		err  bool
	}{
		"items first": {`{"items":[{"a":1},{"b":[2]}],"metadata":{"resourceVersion":"5"}}`,
			[]string{`{"a":1}`, `{"b":[2]}`}, false},
		"items last": {`{"kind":"List","metadata":{"resourceVersion":"5"},"items":[{"a":1}]}` + "\n", []string{`{"a":1}`},
			false},
		"indented": {"{\n\t\"metadata\": {\n\"resourceVersion\": \"5\"},\n\t\"items\": [\n\t{} ,\n{}\n]\n}",
			[]string{`{}`, `{}`}, false},
		"long items": {`{"metadata":{"resourceVersion":"5"},"items":[` + long + `,1,` + long + `]}`,
			[]string{long, "1", long}, false},
		"none":          {`{"items":[],"metadata":{"resourceVersion":"5"}}`, nil, false},
		"null":          {`{"items":null,"metadata":{"resourceVersion":"5"}}`, nil, false},
		"nothing":       {``, nil, true},
		"no object":     {`[]`, nil, true},
		"no colon":      {`{"items"[]}`, nil, true},
		"no comma":      {`{"items":[{} {}],"metadata":{"resourceVersion":"5"}}`, []string{`{}`}, true},
		"wrong closing": {`{"items":[{}},"metadata":{"resourceVersion":"5"}}`, []string{`{}`}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for pieces, from := range map[string]io.Reader{
				"at once": strings.NewReader(test.list), "in halves": iotest.HalfReader(strings.NewReader(test.list)),
				"by the byte":  iotest.OneByteReader(strings.NewReader(test.list)),
				"with its end": iotest.DataErrReader(strings.NewReader(test.list)),
			} {
				var got []string
				meta, err := readList(from, func(item []byte) error {
					got = append(got, string(item))
					return nil
				})
				if (err != nil) != test.err || !reflect.DeepEqual(got, test.want) || err == nil && meta.ResourceVersion != "5" {
					t.Errorf("%s: %d items of %d, version %q, %v", pieces, len(got), len(test.want), meta.ResourceVersion, err)
				}
			}
		})
	}
}

// TestReadListCutOff checks that a list is never taken for complete if it was cut off, or if one of its items could not
// be read.
func TestReadListCutOff(t *testing.T) {
	list := `{"items":[{"a":1},{"b":"}]"}],"metadata":{"resourceVersion":"5"}}`
	ignore := func([]byte) error { return nil }
	for i := range list {
		if _, err := readList(strings.NewReader(list[:i]), ignore); err == nil {
			t.Errorf("no error for a list that is cut off after %q", list[:i])
		}
		broken := io.MultiReader(strings.NewReader(list[:i]), iotest.ErrReader(io.ErrClosedPipe))
		if _, err := readList(broken, ignore); err == nil {
			t.Errorf("no error for a list whose connection broke after %q", list[:i])
		}
	}
	unreadable := errors.New("unreadable")
	if _, err := readList(strings.NewReader(list), func([]byte) error { return unreadable }); !errors.Is(err, unreadable) {
		t.Errorf("%v, want %v", err, unreadable)
	}
}

// TestReadTenantMissesNothing compares what readTenant reads with what encoding/json reads.
func TestReadTenantMissesNothing(t *testing.T) {
	at := metav1.NewTime(noon)
	for name, change := range map[string]func(*keysv1alpha1.Tenant){
		"active":       func(*keysv1alpha1.Tenant) {},
		"suspended":    func(tenant *keysv1alpha1.Tenant) { tenant.Spec.State = keysv1alpha1.TenantSuspended },
		"deleting":     func(tenant *keysv1alpha1.Tenant) { tenant.DeletionTimestamp = &at },
		"no allowlist": func(tenant *keysv1alpha1.Tenant) { tenant.Spec.AllowedCIDRs = nil },
		"no id":        func(tenant *keysv1alpha1.Tenant) { tenant.Spec.ID = "" },
	} {
		t.Run(name, func(t *testing.T) {
			tenant := &keysv1alpha1.Tenant{
				ObjectMeta: everything().ObjectMeta,
				Spec: keysv1alpha1.TenantSpec{
					ID: "3714240b-2e06-4c35-8856-ccc1c096323e", DisplayName: `"{[`,
					AllowedCIDRs: []keysv1alpha1.CIDR{"203.0.113.0/24"},
				},
				Status: keysv1alpha1.TenantStatus{ActiveKeys: []keysv1alpha1.ActiveKey{{
					UID: "u", Namespace: "n", Name: "m", ReservedTime: new(metav1.NewMicroTime(noon)),
				}}},
			}
			change(tenant)
			content, err := json.Marshal(tenant)
			if err != nil {
				t.Fatal(err)
			}
			whole := &keysv1alpha1.Tenant{}
			if err := json.Unmarshal(content, whole); err != nil {
				t.Fatal(err)
			}
			object, err := readTenant(content)
			if err != nil {
				t.Fatal(err)
			}
			part := object.(*keysv1alpha1.Tenant)
			gotID, got, gotOK := index.TenantOf(part)
			wantID, want, wantOK := index.TenantOf(whole)
			if gotID != wantID || gotOK != wantOK || !reflect.DeepEqual(got, want) {
				t.Errorf("%v %+v %t, want %v %+v %t", gotID, got, gotOK, wantID, want, wantOK)
			}
			if fmt.Sprint(part.Name, part.UID, part.ResourceVersion, part.CreationTimestamp) !=
				fmt.Sprint(whole.Name, whole.UID, whole.ResourceVersion, whole.CreationTimestamp) {
				t.Errorf("read %+v, want %+v", part.ObjectMeta, whole.ObjectMeta)
			}
			if part.Status.ActiveKeys != nil || part.ManagedFields != nil {
				t.Error("the ledger is read, which is most of a tenant")
			}
		})
	}
}

func TestReadPolicyMissesNothing(t *testing.T) {
	policy := &keysv1alpha1.AccessPolicy{ObjectMeta: everything().ObjectMeta, Spec: keysv1alpha1.AccessPolicySpec{
		Hosts:  []keysv1alpha1.Host{"your-nexuscommerce.com"},
		Scopes: []keysv1alpha1.ScopeDeclaration{{Name: "products:read", Description: "read"}},
	}}
	content, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	object, err := readPolicy(content)
	if err != nil {
		t.Fatal(err)
	}
	part := object.(*keysv1alpha1.AccessPolicy)
	if !reflect.DeepEqual(part.Spec, policy.Spec) || part.Name != policy.Name ||
		!part.CreationTimestamp.Equal(&policy.CreationTimestamp) {
		t.Errorf("read %+v, want %+v", part, policy)
	}
	for _, read := range []objectReader{readTenant, readPolicy} {
		if _, err := read([]byte(`{"metadata":{"name":"a"},"spec":[]}`)); err == nil {
			t.Error("no error for a spec that is not an object")
		}
	}
}
