package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
)

// MinimumMinor is the oldest minor release of Kubernetes 1 that is supported and tested. Older ones refuse the
// project's kinds. The chart and the documentation say the same.
const MinimumMinor = 34

// checkVersion checks that the API server is new enough.
func (Needs) checkVersion(ctx context.Context, client rest.Interface) error {
	content, err := client.Get().AbsPath("/version").Do(ctx).Raw()
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsNotFound(err): // Some clusters hide it. The kinds are checked next.
		return nil
	case err != nil:
		return err
	}
	served := version.Info{}
	if err := json.Unmarshal(content, &served); err != nil {
		return err
	}
	if tooOld(served) {
		return unmet(fmt.Sprintf("Kubernetes %s.%s (%s) is too old: upgrade the cluster to 1.%d or newer", served.Major,
			served.Minor, served.GitVersion, MinimumMinor))
	}
	return nil
}

// tooOld reports whether a version is below MinimumMinor. A version that can't be read is not.
func tooOld(served version.Info) bool {
	major, err := strconv.Atoi(served.Major)
	if err != nil {
		return false
	}
	minor, err := strconv.Atoi(strings.TrimRight(served.Minor, "+")) // Some providers write "34+".
	return err == nil && (major < 1 || major == 1 && minor < MinimumMinor)
}
