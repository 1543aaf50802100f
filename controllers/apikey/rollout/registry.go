package rollout

import (
	"context"
	"encoding/json"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
)

const (
	// RegistryName is the name of the Lease in which the controller keeps the verifiers that it knows.
	RegistryName = "apikey-verifiers"
	// RegistryAnnotation is the annotation of the Lease that lists the verifiers.
	RegistryAnnotation = keysv1alpha1.GroupName + "/verifiers"
)

// registry keeps the verifiers that the controller knows in an object of its own, for the next process: the canary does
// not show whose probe was removed from it. It is written when a verifier comes or goes, not with each probe.
//
// An existing object means that a controller was here before, so it is created before anything is published.
type registry struct {
	writer client.Client
	live   client.Reader
	name   types.NamespacedName
	// stored is the Lease as it was last read or written; nil before that, and after a write that failed.
	stored *coordinationv1.Lease
}

// read returns what was stored, or nil if there is nothing.
func (g *registry) read(ctx context.Context) (*probe.Document, error) {
	lease := &coordinationv1.Lease{}
	err := g.live.Get(ctx, g.name, lease)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the known verifiers from Lease %s: %w", g.name, err)
	}
	g.stored = lease
	document := &probe.Document{}
	if err := json.Unmarshal([]byte(lease.Annotations[RegistryAnnotation]), document); err != nil {
		return &probe.Document{Longest: metav1.Duration{Duration: probe.Longest}}, nil // What was stored there is lost.
	}
	return document, nil
}

// write stores a document in place of what was read.
func (g *registry) write(ctx context.Context, document probe.Document) error {
	text, err := json.Marshal(document)
	if err != nil {
		return err
	}
	annotations := map[string]string{RegistryAnnotation: string(text)}
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.name.Namespace, Name: g.name.Name, Annotations: annotations},
	}
	switch {
	case g.stored == nil:
		err = g.writer.Create(ctx, lease)
	case g.stored.Annotations[RegistryAnnotation] != string(text):
		lease = g.stored.DeepCopy()
		lease.Annotations = annotations
		err = g.writer.Update(ctx, lease)
	default:
		return nil
	}
	g.stored = lease
	if err != nil {
		g.stored = nil
		err = fmt.Errorf("writing the known verifiers to Lease %s: %w", g.name, err)
	}
	return err
}
