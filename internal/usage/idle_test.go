package usage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// TestIdleStoreKeepsWhatItIsGiven puts objects in and takes them out at random, by name and by slot. Each comes out
// once and unchanged, however many there are and however often pages are split and compacted.
func TestIdleStoreKeepsWhatItIsGiven(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	a, kept := newIdleStore(), map[string]object{}
	for n := range 20_000 {
		name := fmt.Sprintf("ns-%d/key-%d", n%7, random.IntN(4000))
		want, known := kept[name]
		var got *object
		if known && random.IntN(2) == 0 {
			got = a.takeWithSlot(a.hash(name), want.credentials[random.IntN(len(want.credentials))].slotNumber)
		} else {
			got = a.takeNamed(name)
		}
		if known != (got != nil) || known && !reflect.DeepEqual(*got, want) {
			t.Fatalf("%s is %+v, want %+v", name, got, want)
		}
		delete(kept, name)
		if random.IntN(3) > 0 {
			o := object{
				name: name, uid: types.UID(fmt.Sprint("uid of ", n)), version: fmt.Sprint(random.Uint64()),
				lastUsed: random.Int64N(1 << 40), ours: random.IntN(2) == 0,
			}
			for c := range 1 + random.IntN(2) {
				o.credentials = append(o.credentials,
					credential{id: fmt.Sprint("id-", c), slotNumber: index.UsageSlot(2*n + c + 1)})
			}
			kept[name] = o
			a.put(&o)
		}
		if n%300 == 0 {
			a.compact()
		}
	}
	var names []string
	a.eachName(func(name []byte) { names = append(names, string(name)) })
	slices.Sort(names)
	if !slices.Equal(names, slices.Sorted(maps.Keys(kept))) || a.size != len(kept) {
		t.Errorf("%d names and a size of %d, want %d", len(names), a.size, len(kept))
	}
	if len(a.pages) < len(kept)/perPage {
		t.Errorf("%d pages of %d objects", len(a.pages), len(kept))
	}
	if a.takeWithSlot(a.hash("ns-1/key-1"), 0) != nil || a.takeNamed("ns-1/key") != nil {
		t.Error("what was never put in was found")
	}
}
