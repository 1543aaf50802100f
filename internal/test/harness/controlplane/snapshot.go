package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Snapshot writes a snapshot of etcd to a file, as etcdctl snapshot save does.
func (cp *ControlPlane) Snapshot(ctx context.Context, path string) (err error) {
	url := cp.env.ControlPlane.Etcd.URL.String() + "/v3/maintenance/snapshot"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for decoder := json.NewDecoder(response.Body); ; {
		var part struct {
			Result struct{ Blob []byte }
			Error  json.RawMessage
		}
		switch err := decoder.Decode(&part); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil || part.Error != nil:
			return errors.Join(fmt.Errorf("etcd's snapshot: %s %s", response.Status, part.Error), err)
		}
		if _, err := file.Write(part.Result.Blob); err != nil {
			return err
		}
	}
}

// Restore stops the control plane, restores a snapshot by etcdutl, and starts the control plane again. Revisions are
// set forward by bump, as Kubernetes advises; 0 leaves them as they were.
func (cp *ControlPlane) Restore(ctx context.Context, etcdutl, snapshot string, bump int) error {
	dir, err := os.MkdirTemp(cp.dir, "restored")
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	args := []string{"snapshot", "restore", snapshot, "--data-dir", data}
	if bump > 0 {
		args = append(args, "--bump-revision", strconv.Itoa(bump), "--mark-compacted")
	}
	if out, err := exec.CommandContext(ctx, etcdutl, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("etcdutl: %w: %s", err, out)
	}
	etcd := cp.env.ControlPlane.Etcd
	if err := errors.Join(cp.StopAPIServer(), etcd.Stop()); err != nil {
		return err
	}
	etcd.DataDir = data
	if err := etcd.Start(); err != nil {
		return err
	}
	return cp.StartAPIServer()
}
