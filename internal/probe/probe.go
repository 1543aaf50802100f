// Package probe is what verifiers say of themselves on the canary, and what follows from it: who may be answering, and how far
// each has come. It is pure.
//
// The controller waits for it: a token is published once every verifier has applied its announcement, and a revocation is
// effective once every one has applied that, or must refuse everything.
package probe

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const (
	// Shortest is the least that a verifier's --max-staleness may be.
	Shortest = 2 * time.Second
	// Longest is the most that it may be.
	Longest = time.Hour

	// Gone is what an administrator writes in a verifier's place, to vouch that its process has ended.
	Gone = "gone"
)

// Record is the value of a verifier's annotation on the canary.
type Record struct {
	// Nonce is random: only the verifier's own watch can bring it back.
	Nonce string `json:"nonce"`
	// Time is when the nonce was written, by the verifier's clock.
	Time metav1.Time `json:"time"`
	// Applied is the resourceVersion up to which the verifier has applied all changes to ApiKeys.
	Applied string `json:"applied"`
	// MaxStaleness is how long after its last proof of freshness the verifier refuses everything.
	MaxStaleness metav1.Duration `json:"maxStaleness"`
	// Instance is random, and one process's own: it tells two verifiers of one name apart.
	Instance string `json:"instance,omitempty"`
	// Pod is the UID of the pod that the process runs in, if it is in one. A pod's container starts only after the one
	// before it has ended.
	Pod string `json:"pod,omitempty"`
	// Contested is the Instance of another process that writes under the same name. As long as it does, the verifier refuses
	// everything.
	Contested string `json:"contested,omitempty"`
	// SignedOff is a verifier's last word: it answers no more.
	SignedOff bool `json:"signedOff,omitempty"`
}

// Annotation returns the name of a verifier's annotation.
func Annotation(verifier string) string { return keysv1alpha1.ProbeAnnotationPrefix + verifier }

// String returns the record as it is written.
func (r Record) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // Every field is one that can be marshalled.
	}
	return string(text)
}

// Parse reads what String writes, and what an administrator writes in a verifier's place.
func Parse(text string) (Record, error) {
	if text == Gone {
		return Record{SignedOff: true}, nil
	}
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, fmt.Errorf("a verifier's probe: %w", err)
	}
	return r, nil
}

// HasApplied reports whether the verifier has applied a change (KEP-5504 has resourceVersions compared).
func (r Record) HasApplied(resourceVersion string) bool {
	order, err := resourceversion.CompareResourceVersion(r.Applied, resourceVersion)
	return err == nil && order >= 0
}

// Bound returns how long after its last sign of life the verifier refuses everything. No verifier accepts another bound than
// from Shortest to Longest, so whatever else is written, or can't be read, counts as Longest.
func (r Record) Bound() time.Duration {
	if bound := r.MaxStaleness.Duration; bound >= Shortest && bound <= Longest {
		return bound
	}
	return Longest
}

// Records returns what verifiers say on the canary, by the verifier's name. What can't be read counts as a verifier that
// has applied nothing.
func Records(canary *keysv1alpha1.ApiKey) map[string]Record {
	records := map[string]Record{}
	for name, value := range canary.Annotations {
		verifier, ok := strings.CutPrefix(name, keysv1alpha1.ProbeAnnotationPrefix)
		if !ok {
			continue
		}
		record, err := Parse(value)
		if err != nil {
			record = Record{Nonce: value}
		}
		records[verifier] = record
	}
	return records
}

// Alive reports whether an annotation's value is not a verifier's last word. It reads no more than it must: verifiers look at all
// of them with every nonce.
func Alive(value string) bool { return value != Gone && !strings.Contains(value, `"signedOff":true`) }

// Count returns how many verifiers say something on the canary, which is how many replicas there are, and a few that have
// crashed of late.
func Count(canary *keysv1alpha1.ApiKey) int64 {
	var n int64
	for name, value := range canary.Annotations {
		if strings.HasPrefix(name, keysv1alpha1.ProbeAnnotationPrefix) && Alive(value) {
			n++
		}
	}
	return n
}
