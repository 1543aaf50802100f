package usage

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// BenchmarkAHundredThousandKeys measures what it costs to collect that many keys when all of them have been used, how
// long the feed has to wait because of it, and how much memory a key takes.
func BenchmarkAHundredThousandKeys(b *testing.B) {
	const keys = 100_000
	s := newServer(nil)
	before := inUse()
	r := s.replica("one")
	for n := range keys {
		r.Apply(newKey(fmt.Sprint("key-", n), "first000"))
	}
	perKey := float64(inUse()-before) / keys
	longest := time.Duration(0)
	for b.Loop() {
		r.now = r.now.Add(time.Second)
		r.mu.Lock()
		for _, o := range r.objects {
			r.queue.remove(o)
			r.keep(o)
		}
		r.mu.Unlock()
		for n := range index.UsageSlot(keys) {
			r.Used(n+1, r.now)
		}
		for more := true; more; {
			began := time.Now()
			more = r.collectSome()
			longest = max(longest, time.Since(began))
		}
		if r.queue.len() != keys {
			b.Fatal("not all are pending")
		}
	}
	b.ReportMetric(perKey, "B/key")
	b.ReportMetric(float64(longest.Microseconds()), "µs/longest-wait")
}

func inUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
