package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// seedBatch is how many objects are written in one transaction, and seedBytes how many bytes of them: as many as etcd
// takes.
const (
	seedBatch = 128
	seedBytes = 1 << 20
)

const (
	apiKeys = "keys.nexuscommerce.io/apikeys"
	tenants = "keys.nexuscommerce.io/tenants"
	secrets = "secrets"
)

// Seed copies an ApiKey n times, straight into etcd, which takes seconds where the API server would take minutes.
// replace returns the copy's name, and pairs of what in the stored object is replaced by what.
func (cp *ControlPlane) Seed(ctx context.Context, template client.ObjectKey, n int,
	replace func(i int) (client.ObjectKey, []string)) error {
	return cp.seed(ctx, apiKeys, template, n, replace)
}

// SeedTenants copies a Tenant n times, straight into etcd. A Tenant that exists is replaced.
func (cp *ControlPlane) SeedTenants(ctx context.Context, template client.ObjectKey, n int,
	replace func(i int) (client.ObjectKey, []string)) error {
	return cp.seed(ctx, tenants, template, n, replace)
}

// SeedSecrets copies a Secret n times, straight into etcd. It is stored as protobuf: a text and its replacement must be
// of the same length.
func (cp *ControlPlane) SeedSecrets(ctx context.Context, template client.ObjectKey, n int,
	replace func(i int) (client.ObjectKey, []string)) error {
	return cp.seed(ctx, secrets, template, n, replace)
}

func (cp *ControlPlane) seed(ctx context.Context, resource string, template client.ObjectKey, n int,
	replace func(i int) (client.ObjectKey, []string)) error {
	stored, err := cp.stored(ctx, etcdKey(resource, template))
	if err != nil {
		return err
	}
	type put struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	}
	type operation struct {
		Put put `json:"requestPut"`
	}
	var batch []operation
	size := 0
	for i := range n {
		name, pairs := replace(i)
		value := strings.NewReplacer(pairs...).Replace(string(stored))
		batch = append(batch, operation{put{Key: etcdKey(resource, name), Value: []byte(value)}})
		if size += len(value); i < n-1 && len(batch) < seedBatch && size < seedBytes {
			continue
		}
		if err := cp.etcd(ctx, "txn", map[string]any{"success": batch}, nil); err != nil {
			return err
		}
		batch, size = nil, 0
	}
	return nil
}

// stored returns an object as etcd has it.
func (cp *ControlPlane) stored(ctx context.Context, key []byte) ([]byte, error) {
	var found struct {
		Kvs []struct {
			Value []byte `json:"value"`
		} `json:"kvs"`
	}
	if err := cp.etcd(ctx, "range", map[string]any{"key": key}, &found); err != nil {
		return nil, err
	}
	if len(found.Kvs) != 1 {
		return nil, fmt.Errorf("etcd has no %s", key)
	}
	return found.Kvs[0].Value, nil
}

func etcdKey(resource string, name client.ObjectKey) []byte {
	// What has no namespace begins with its name.
	return []byte("/registry/" + resource + "/" + strings.TrimPrefix(name.String(), "/"))
}

// etcd calls a method of etcd's gRPC interface for keys and values, as JSON.
func (cp *ControlPlane) etcd(ctx context.Context, method string, body, answer any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	url := cp.env.ControlPlane.Etcd.URL.String() + "/v3/kv/" + method
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(content))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err = io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("etcd answers %s to %s: %.200s", response.Status, method, content), err)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(content, answer)
}
