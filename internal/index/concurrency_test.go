package index_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// TestUnchangedDigestIsAlwaysFound looks up a digest from several goroutines while a writer changes its grant, lets
// another object claim it too, rotates the other credential of its object, grows the table and compacts it.
func TestUnchangedDigestIsAlwaysFound(t *testing.T) {
	const readers, rounds = 3, 1_500
	stays := nthDigest(0)
	c := index.NewCredentials()
	c.Put("a/key", []*index.Claim{newClaimFor("a/key", 1, stays)})

	var done atomic.Bool
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			for !done.Load() {
				if grant, ok := lookup(c, stays); !ok || grant.Name != "a/key" {
					t.Errorf("found %q instead of the unchanged key", grant.Name)
					return
				}
			}
		})
	}
	for n := 1; n <= rounds; n++ {
		name := fmt.Sprint("b/", n)
		c.Put("a/key", []*index.Claim{newClaimFor("a/key", 1, stays), newClaimFor("a/key", 1, nthDigest(-n))})
		c.Put(name, []*index.Claim{newClaimFor(name, 2, stays), newClaimFor(name, 2, nthDigest(n))})
		c.Put(name, []*index.Claim{newClaimFor(name, 2, nthDigest(n))})
		if n%3 == 0 {
			c.Put(name, nil)
		}
		if n%10 == 0 {
			c.Compact()
		}
	}
	done.Store(true)
	group.Wait()
	wantHolders(t, c, stays, "a/key")
	if want := 2 + rounds - rounds/3; c.Len() != want {
		t.Errorf("%d digests, want %d", c.Len(), want)
	}
}

// TestRotationHasNoGap looks up the digest that the writer has announced last, over and over. The one before it may
// disappear only once the next can be found.
func TestRotationHasNoGap(t *testing.T) {
	const rounds = 10_000
	c := index.NewCredentials()
	digests := make([]token.Digest, rounds+1)
	for n := range digests {
		digests[n] = nthDigest(n)
	}
	c.Put("a/key", []*index.Claim{newClaimFor("a/key", 1, digests[0])})

	var settled atomic.Int64 // digests[settled] was present when this was read, and is until two rotations later
	var group sync.WaitGroup
	group.Go(func() {
		for {
			n := settled.Load()
			_, found := lookup(c, digests[n])
			if !found && settled.Load() == n {
				t.Errorf("credential %d is not found while it is current", n)
				return
			}
			if n == rounds {
				return
			}
		}
	})
	for n := 1; n <= rounds; n++ {
		c.Put("a/key", []*index.Claim{newClaimFor("a/key", 1, digests[n-1]), newClaimFor("a/key", 1, digests[n])})
		settled.Store(int64(n))
		c.Put("a/key", []*index.Claim{newClaimFor("a/key", 1, digests[n])})
	}
	group.Wait()
	if c.Len() != 1 {
		t.Errorf("%d digests, want 1", c.Len())
	}
}

// TestViewIsReadWhileItChanges gives the race detector something to look at.
func TestViewIsReadWhileItChanges(t *testing.T) {
	id := tenantID(t, "3714240b-2e06-4c35-8856-ccc1c096323e")
	view := index.NewView()
	view.SetTenants(index.Tenants{id: {Allowlists: make([]index.Allowlist, 1)}})

	var done atomic.Bool
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for !done.Load() {
				if tenant, ok := view.Tenant(id); !ok || len(tenant.Allowlists) == 0 || view.Routes() == nil ||
					view.TenantCount() != 1 {
					t.Error("the view is not complete")
					return
				}
			}
		})
	}
	for n := range 5_000 {
		view.SetTenants(index.Tenants{id: {Allowlists: make([]index.Allowlist, 1+n%2)}})
		view.SetRoutes(access.Compile(nil))
	}
	done.Store(true)
	group.Wait()
}
