package install

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// ControllerOptions choose how a controller runs.
type ControllerOptions struct {
	// Binary is the path of the program. By default it is built from the tree as it is.
	Binary string
	// Kubeconfig is how it reaches the API server. By default it does so as the controller's service account.
	Kubeconfig string
	// LeaderElection makes it wait until it is elected.
	LeaderElection bool
	// Flags come after the others, and take precedence.
	Flags []string
}

// Controller is a controller that runs as a process.
type Controller struct {
	*program.Process

	// Health and Metrics are the addresses that it listens on.
	Health, Metrics string
}

// StartController starts a controller, which is killed when the test ends.
func (i *Installation) StartController(t testing.TB, o ControllerOptions) *Controller {
	t.Helper()
	if o.Kubeconfig == "" {
		o.Kubeconfig = Kubeconfig(t, i.ControlPlane, "apikey-controller")
	}
	if o.Binary == "" {
		o.Binary = i.Binary("./cmd/controller")
	}
	c := &Controller{Health: program.FreeAddress(t), Metrics: program.FreeAddress(t)}
	c.Process = program.Start(t, o.Binary, append([]string{
		"--kubeconfig=" + o.Kubeconfig, fmt.Sprintf("--leader-elect=%t", o.LeaderElection),
		"--metrics-bind-address=" + c.Metrics, "--health-probe-bind-address=" + c.Health,
	}, o.Flags...)...)
	logOnFailure(t, "a controller", c.Process)
	return c
}

// RestartController kills the installation's controller, if there is one, and starts another, which runs as long as the
// installation does.
func (i *Installation) RestartController(o ControllerOptions) {
	i.t.Helper()
	if i.Controller != nil {
		i.Controller.Kill()
	}
	i.Controller = i.StartController(i.t, o)
}

// TLS is the certificate of a program.
type TLS struct {
	// Flags name the files of its certificate. Where they are nil, the program is started without any.
	Flags []string
	// Trust is the configuration of clients that connect to the program.
	Trust *tls.Config
}

// SignedBy returns TLS by a certificate for a server's name that an authority has signed.
func SignedBy(t testing.TB, ca *authority.Authority, serverName string) *TLS {
	t.Helper()
	return &TLS{Flags: ca.Flags(t, serverName), Trust: ca.Trust(serverName)}
}

// MountedTLS returns TLS by the certificate in a Secret that the controller maintains, as a pod has it mounted.
func MountedTLS(t testing.TB, cp *controlplane.ControlPlane, secret, serverName string) *TLS {
	t.Helper()
	return &TLS{Flags: Mounted(t, cp, secret), Trust: Trust(t, cp, serverName)}
}

// VerifierOptions choose how a verifier runs.
type VerifierOptions struct {
	// Binary is the path of the program. By default it is built from the tree as it is.
	Binary string
	// Name is its --name. By default it is verifier-1, verifier-2, and so on, as verifiers are started.
	Name string
	// Kubeconfig is how it reaches the API server. By default it does so as the verifier's service account.
	Kubeconfig string
	// TLS is for all of its ports. Where it is nil, they speak plain text.
	TLS *TLS
	// Flags come after the others, and take precedence.
	Flags []string
	// Stdout receives its standard output. By default that is in its log.
	Stdout *os.File
	// NoWait returns before the verifier is ready.
	NoWait bool
	// Addresses are those that it listens on. Where one is empty, it is a free one.
	Addresses
}

// Addresses are where a verifier listens.
type Addresses struct{ HTTP, GRPC, Health, Metrics string }

// Verifier is a verifier that runs as a process.
type Verifier struct {
	*program.Process
	Addresses

	// Name is its --name.
	Name string
	// Scheme is that of its URLs, and Web a client that trusts it.
	Scheme string
	Web    *http.Client
}

// StartVerifier starts a verifier, which is killed when the test ends, and waits until it is ready.
func (i *Installation) StartVerifier(t testing.TB, o VerifierOptions) *Verifier {
	t.Helper()
	if o.Kubeconfig == "" {
		o.Kubeconfig = Kubeconfig(t, i.ControlPlane, "apikey-verifier")
	}
	i.mu.Lock()
	i.verifiers++
	if o.Name == "" {
		o.Name = fmt.Sprintf("verifier-%d", i.verifiers)
	}
	i.mu.Unlock()
	if o.Binary == "" {
		o.Binary = i.Binary("./cmd/verifier")
	}
	return StartVerifier(t, o.Binary, o)
}

// StartVerifier starts a verifier that belongs to no installation, by its binary, a name and a kubeconfig.
func StartVerifier(t testing.TB, binary string, o VerifierOptions) *Verifier {
	t.Helper()
	for _, address := range []*string{&o.HTTP, &o.GRPC, &o.Health, &o.Metrics} {
		if *address == "" {
			*address = program.FreeAddress(t)
		}
	}
	v := &Verifier{Name: o.Name, Addresses: o.Addresses, Scheme: "http"}
	transport := &http.Transport{}
	security := []string{"--insecure-plain-text"}
	if o.TLS != nil {
		v.Scheme, security, transport.TLSClientConfig = "https", o.TLS.Flags, o.TLS.Trust
	}
	t.Cleanup(transport.CloseIdleConnections)
	v.Web = &http.Client{Transport: transport}
	v.Process = program.StartTo(t, o.Stdout, binary, slices.Concat([]string{
		"--kubeconfig=" + o.Kubeconfig, "--name=" + o.Name, "--http-bind-address=" + v.HTTP, "--grpc-bind-address=" + v.GRPC,
		"--health-probe-bind-address=" + v.Health, "--metrics-bind-address=" + v.Metrics,
	}, security, o.Flags)...)
	logOnFailure(t, "the verifier "+o.Name, v.Process)
	if !o.NoWait {
		program.WaitUntil(t, Timeout, "the verifier "+o.Name+" is ready", v.Ready(t))
	}
	return v
}

// URL returns the URL of a path at one of the verifier's addresses.
func (v *Verifier) URL(address, path string) string { return v.Scheme + "://" + address + path }

// Ready returns a condition: the verifier is ready.
func (v *Verifier) Ready(t testing.TB) func() error {
	t.Helper()
	return program.AnswersTo(t.Context(), v.Web, v.URL(v.Health, "/readyz"))
}
