package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
)

// routeCount is the number of rules in the policy of a measured verifier.
const routeCount = 50

// syntheticKey returns the key with a number. The token follows from the number, so one process can hold the keys and
// another one can use them.
func syntheticKey(i int) subject {
	tenant := i / perTenant
	s := subject{
		tenantID: fmt.Sprintf("3714240b-2e06-4c35-8856-%012x", tenant), token: mint(fmt.Sprintf("synthetic-%d", i)).Reveal(),
	}
	s.name.Namespace, s.name.Name = fmt.Sprintf("tenant-%06d", tenant), fmt.Sprintf("key-%07d", i)
	return s
}

// apiKey returns the key's object, as the controller leaves it.
func (s subject) apiKey() *keysv1alpha1.ApiKey {
	issued := metav1.NewTime(time.Now().Add(-time.Hour))
	key := fixture.ApiKey(s.name.Namespace, s.name.Name)
	key.UID, key.ResourceVersion, key.CreationTimestamp = types.UID(s.name.Name), "1", issued
	key.Spec.State, key.Spec.Expiry = keysv1alpha1.ApiKeyActive, "1y"
	key.Spec.Scopes = []keysv1alpha1.Scope{"products:read", "products:write", "orders:read"}
	key.Status = keysv1alpha1.ApiKeyStatus{
		TenantID: s.tenantID, Scopes: []keysv1alpha1.Scope{"products:read", "products:write", "orders:read"},
		IssuedTime: &issued,
		Credentials: []keysv1alpha1.Credential{{
			ID: credentialID, Digest: token.DigestOf(s.token).String(), IssuedTime: issued, PublishedTime: &issued,
		}},
	}
	return key
}

// filledView returns what decisions are made from, with n keys, as the feed fills it.
func filledView(n int) (*index.View, *usage.Recorder, error) {
	uses, err := usage.New(usage.Options{
		Config: &rest.Config{}, Canary: types.NamespacedName{Name: keysv1alpha1.CanaryName}, Name: "bench", Budget: 20,
		Log: logr.Discard(), Clock: time.Now, Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, nil, err
	}
	view, tenants := index.NewView(), index.Tenants{}
	for i := range n {
		s := syntheticKey(i)
		key := s.apiKey()
		claims, slot := index.ClaimsOf(key), uses.Apply(key)
		for _, claim := range claims {
			claim.UsageSlot = slot(claim.CredentialID)
		}
		view.Credentials.Put(key.Namespace+"/"+key.Name, claims)
		if id, ok := index.ParseTenantID(s.tenantID); ok {
			tenants[id] = index.Tenant{}
		}
	}
	view.Credentials.Compact()
	uses.Compact()
	view.SetTenants(tenants)
	view.SetRoutes(access.Compile([]keysv1alpha1.AccessPolicy{*manyRules()}))
	return view, uses, nil
}

// manyRules returns a policy of routeCount rules, one of which matches the requests.
func manyRules() *keysv1alpha1.AccessPolicy {
	return fixture.Policy("nexuscommerce", func(p *keysv1alpha1.AccessPolicy) {
		for i := len(p.Spec.Rules); i < routeCount; i++ {
			p.Spec.Rules = append(p.Spec.Rules, keysv1alpha1.AccessRule{
				Paths:   []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix, Value: fmt.Sprintf("/api/reports/%02d", i)}},
				Methods: []keysv1alpha1.Method{"GET"}, Scopes: []keysv1alpha1.Scope{"orders:read"},
			})
		}
	})
}

// draw writes some of the first n keys, chosen at random, to a file for wrk, and wrk's script beside it.
func draw(path string, some, n int, change func(subject) subject) error {
	if err := os.WriteFile(path+scriptSuffix, loadScript, 0o600); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	random := rand.New(rand.NewPCG(4711, uint64(n))) // The same keys each time.
	for range some {
		s := change(syntheticKey(random.IntN(n)))
		if _, err := fmt.Fprintln(w, s.tenantID, s.token); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Close()
}

func itself(s subject) subject { return s }

// unknown replaces the key's token with one that was never minted.
func unknown(s subject) subject {
	s.token = mint("nobody-" + s.name.Name).Reveal()
	return s
}

// malformed changes a character of the key's token.
func malformed(s subject) subject {
	last := byte('0')
	if s.token[len(s.token)-1] == last {
		last = '1'
	}
	s.token = s.token[:len(s.token)-1] + string(last)
	return s
}
