// Package probe defines what verifiers write about themselves on the canary, and what follows from it: which verifiers
// may be answering, and how far each of them is. It is pure.
//
// The controller relies on it. It publishes a token once every verifier has applied its announcement. A revocation is
// effective once every verifier has applied it, or must refuse everything.
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
	// Shortest is the lower limit of a verifier's --max-staleness.
	Shortest = 2 * time.Second
	// Longest is the upper limit.
	Longest = time.Hour

	// Gone is what an administrator writes in place of a verifier's record, to vouch that its process has ended.
	Gone = "gone"
)

// Record is the value of a verifier's annotation on the canary.
type Record struct {
	// Nonce is random: only the verifier's own watch can bring it back.
	Nonce string `json:"nonce"`
	// Time is when the nonce was written, by the verifier's clock.
	Time metav1.Time `json:"time"`
	// Applied is the resourceVersion up to which the verifier has applied all changes of ApiKeys.
	Applied string `json:"applied"`
	// MaxStaleness is how long after its last proof of freshness the verifier refuses everything.
	MaxStaleness metav1.Duration `json:"maxStaleness"`
	// Instance is a random ID of the process. It distinguishes two verifiers of the same name.
	Instance string `json:"instance,omitempty"`
	// Pod is the UID of the pod that the process runs in, if any. A container of a pod starts only after its predecessor
	// has ended.
	Pod string `json:"pod,omitempty"`
	// Contested is the Instance of another process that writes under the same name. While it does, the verifier refuses
	// everything.
	Contested string `json:"contested,omitempty"`
	// SignedOff is set in the last record of a verifier. From then on it no longer answers.
	SignedOff bool `json:"signedOff,omitempty"`
}

// Annotation returns the name of a verifier's annotation.
func Annotation(verifier string) string { return keysv1alpha1.ProbeAnnotationPrefix + verifier }

// String returns the record as verifiers write it.
func (r Record) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // All fields can be marshalled.
	}
	return string(text)
}

// Parse reads what String writes, and what an administrator writes in its place.
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

// HasApplied reports whether the verifier has applied a change. KEP-5504 makes resourceVersions comparable.
func (r Record) HasApplied(resourceVersion string) bool {
	order, err := resourceversion.CompareResourceVersion(r.Applied, resourceVersion)
	return err == nil && order >= 0
}

// Bound returns how long after its last record the verifier refuses everything. No verifier accepts a bound outside
// Shortest to Longest, so an invalid or unreadable one counts as Longest.
func (r Record) Bound() time.Duration {
	if bound := r.MaxStaleness.Duration; bound >= Shortest && bound <= Longest {
		return bound
	}
	return Longest
}

// Records returns the records of verifiers on the canary, by the verifier's name. An unreadable record counts as that
// of a verifier that has applied nothing.
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

// Alive reports whether an annotation is other than the last record of a verifier. It doesn't parse the record, because
// verifiers call it for all of them with every nonce.
func Alive(value string) bool { return value != Gone && !strings.Contains(value, `"signedOff":true`) }

// Count returns how many verifiers have a record on the canary: the number of replicas, and a few that have crashed
// recently.
func Count(canary *keysv1alpha1.ApiKey) int64 {
	var n int64
	for name, value := range canary.Annotations {
		if strings.HasPrefix(name, keysv1alpha1.ProbeAnnotationPrefix) && Alive(value) {
			n++
		}
	}
	return n
}
