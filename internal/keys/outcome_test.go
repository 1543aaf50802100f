package keys_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

func TestMayBeDone(t *testing.T) {
	resource := schema.GroupResource{Resource: "apikeys"}
	post := func(err error) error { return &url.Error{Op: "Post", URL: "https://a", Err: err} }
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"the name is taken":     {fmt.Errorf("x: %w", &keys.ExistsError{Key: working()}), false},
		"forbidden":             {apierrors.NewForbidden(resource, "k", errors.New("policy")), false},
		"invalid":               {apierrors.NewBadRequest("no"), false},
		"too many requests":     {apierrors.NewTooManyRequests("later", 1), false},
		"a server's timeout":    {apierrors.NewTimeoutError("late", 1), true},
		"an internal error":     {fmt.Errorf("x: %w", apierrors.NewInternalError(errors.New("e"))), true},
		"a proxy's 502":         {apierrors.NewGenericServerResponse(502, "post", resource, "k", "", 0, true), true},
		"nobody listens":        {post(&net.OpError{Op: "dial", Err: errors.New("refused")}), false},
		"the answer is missing": {post(io.EOF), true},
		"the connection is cut": {post(&net.OpError{Op: "read", Err: errors.New("reset")}), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := keys.MayBeDone(c.err); got != c.want {
				t.Errorf("%v: %t", c.err, got)
			}
		})
	}
}
