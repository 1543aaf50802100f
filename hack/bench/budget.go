package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const (
	// referenceWork is how long the work takes on the reference machine, which has two idle cores. It was derived on
	// another machine, where the work took 9.2 ms and SHA-256 of a token 147 ns, by goalsHash.
	referenceWork = 5500 * time.Microsecond
	// workRounds is how many times the work is done to calibrate. The median counts.
	workRounds = 15
	// workPieces is the number of pieces of work in one round, over all processors.
	workPieces = 2000
	// slowest is the upper limit of the factor. A machine that is slower than that is busy with something else.
	slowest = 20
)

// budgets limits how long benchmarks may take, depending on how fast the machine is.
type budgets struct {
	// factor is how many times longer than on the reference machine benchmarks may take: at least 1.
	factor float64
	// unbounded is set for a single benchmark: somebody has asked for just that one, and can stop it.
	unbounded bool
}

// limit returns how long a benchmark may take. 0 means as long as it needs.
func (b budgets) limit(base time.Duration) time.Duration {
	if b.unbounded {
		return 0
	}
	return time.Duration(float64(base) * max(b.factor, 1)).Round(time.Second)
}

// total returns how long several benchmarks may take together.
func (b budgets) total(chosen []benchmark) (all time.Duration) {
	for _, one := range chosen {
		all += b.limit(one.limit)
	}
	return all
}

// String implements fmt.Stringer.
func (b budgets) String() string {
	if b.unbounded {
		return "no time limit for a single benchmark"
	}
	return fmt.Sprintf("time limits are %.2g times those of the reference machine", max(b.factor, 1))
}

// calibrate times the work, and returns the budgets that follow from it.
func calibrate() budgets {
	var rounds samples
	for range workRounds {
		began := time.Now()
		work(runtime.GOMAXPROCS(0))
		rounds = append(rounds, float64(time.Since(began)))
	}
	return budgets{factor: factorOf(rounds, referenceWork)}
}

// factorOf returns how many times longer than the reference the median round took, from 1 to slowest.
func factorOf(rounds samples, reference time.Duration) float64 {
	return min(max(rounds.median()/float64(reference), 1), slowest)
}

// work does what the measured programs do: it hashes, reads and writes JSON and leaves garbage, on all processors.
func work(workers int) {
	key := keysv1alpha1.ApiKey{Spec: keysv1alpha1.ApiKeySpec{
		DisplayName: "Warehouse Integration", Scopes: []keysv1alpha1.Scope{"products:read", "orders:write"},
	}}
	pieces := make(chan struct{}, workPieces)
	for range workPieces {
		pieces <- struct{}{}
	}
	close(pieces)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range pieces {
				text, err := json.Marshal(key)
				if err != nil {
					panic(err) // Every field can be marshalled.
				}
				var again keysv1alpha1.ApiKey
				if err := json.Unmarshal(text, &again); err != nil || sha256.Sum256(text) == [32]byte{} {
					panic(err)
				}
			}
		})
	}
	group.Wait()
}
