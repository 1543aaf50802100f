// Package probe is what a verifier says of itself on the canary: that it is alive, and how far it has come. It is pure.
//
// The controller waits for it: a token is published once every live verifier has applied its announcement, and a
// revocation is effective once every one has applied that, or must have failed closed.
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

// Parse reads what String writes.
func Parse(text string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, fmt.Errorf("a verifier's probe: %w", err)
	}
	return r, nil
}

// HasApplied says whether the verifier has applied a change (KEP-5504 has resourceVersions compared).
func (r Record) HasApplied(resourceVersion string) bool {
	order, err := resourceversion.CompareResourceVersion(r.Applied, resourceVersion)
	return err == nil && order >= 0
}

// Records returns what verifiers say on the canary, by the verifier's name. What can't be read counts as a verifier that
// has applied nothing, and fails closed after the longest bound that one may have.
func Records(canary *keysv1alpha1.ApiKey) map[string]Record {
	records := map[string]Record{}
	for name, value := range canary.Annotations {
		verifier, ok := strings.CutPrefix(name, keysv1alpha1.ProbeAnnotationPrefix)
		if !ok {
			continue
		}
		record, err := Parse(value)
		if err != nil || record.MaxStaleness.Duration <= 0 || record.MaxStaleness.Duration > longest {
			record = Record{Nonce: value, MaxStaleness: metav1.Duration{Duration: longest}}
		}
		records[verifier] = record
	}
	return records
}

// Count returns how many verifiers say something on the canary, which is how many replicas there are, and a few that have
// crashed of late.
func Count(canary *keysv1alpha1.ApiKey) int64 {
	var n int64
	for name := range canary.Annotations {
		if strings.HasPrefix(name, keysv1alpha1.ProbeAnnotationPrefix) {
			n++
		}
	}
	return n
}

// longest is the longest --max-staleness that a verifier takes.
const longest = time.Hour
