// Package controlplane starts a real Kubernetes control plane (etcd, kube-apiserver and, where asked for,
// kube-controller-manager) on loopback, with this project's kinds installed, for tests, the demo and benchmarks.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// SystemNamespace is where the controller and the verifier run, and where Start makes the namespace for them.
const SystemNamespace = "apikey-system"

// EmulatedVersion is an environment variable. Where it is set, to 1.34 for instance, the API server behaves as one of
// that version does: it has the same APIs and the same admission.
const EmulatedVersion = "KUBERNETES_EMULATED_VERSION"

// Options choose what is started.
type Options struct {
	// ControllerManager starts kube-controller-manager too, for garbage collection and namespace deletion.
	ControllerManager bool
	// NoKinds leaves this project's kinds out: the test installs them itself.
	NoKinds bool
	// APIServerArgs are added to kube-apiserver's flags, by name without dashes.
	APIServerArgs map[string]string
	// SaveMemory lets etcd and kube-apiserver collect garbage as often as they do by default. In tests they use more
	// memory instead: there kube-apiserver takes most of the machine's time.
	SaveMemory bool
	// Log receives kube-controller-manager's output. Without it the output is dropped.
	Log *os.File
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	// Config reaches the API server as a cluster administrator, without client-side rate limits.
	Config *rest.Config
	// Client is an administrator's, uncached.
	Client client.WithWatch
	// Kubectl is the path of a kubectl of the control plane's version.
	Kubectl string
	// Kubeconfig is the path of an administrator's kubeconfig.
	Kubeconfig string

	options Options
	env     *envtest.Environment
	dir     string
	manager *process

	accounts sync.Mutex // envtest adds one user at a time.
}

// Root returns the folder of this repository's checkout. A program that is built with -trimpath finds it from its
// working directory.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	if filepath.IsAbs(file) {
		return filepath.Join(filepath.Dir(file), "..", "..", "..", "..")
	}
	start, err := os.Getwd()
	if err != nil {
		return ""
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "hack", "tools", "controlplane", "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return start
		}
	}
}

// Scheme returns a scheme with Kubernetes' own kinds and this project's.
func Scheme() *apiruntime.Scheme {
	scheme := apiruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), keysv1alpha1.AddToScheme(scheme)); err != nil {
		panic(err) // Both are lists of types that are fixed when this is compiled.
	}
	return scheme
}

// Start starts a control plane from the binaries in the folder that KUBEBUILDER_ASSETS names, installs the CRDs of
// config/crd and creates SystemNamespace. The caller stops it.
func Start(options Options) (_ *ControlPlane, err error) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		return nil, errors.New("KUBEBUILDER_ASSETS is not set: run \"make test\", or " +
			`export KUBEBUILDER_ASSETS="$(hack/tools/controlplane/ensure.sh)"`)
	}
	cp := &ControlPlane{
		options: options,
		Kubectl: filepath.Join(assets, "kubectl"),
		env: &envtest.Environment{
			BinaryAssetsDirectory:    assets,
			CRDDirectoryPaths:        []string{filepath.Join(Root(), "config", "crd", "bases")},
			ErrorIfCRDPathMissing:    true,
			UseExistingCluster:       new(bool), // Whatever USE_EXISTING_CLUSTER says: tests destroy what they find.
			ControlPlaneStartTimeout: time.Minute,
			ControlPlaneStopTimeout:  time.Minute,
		},
	}
	if options.NoKinds {
		cp.env.CRDDirectoryPaths, cp.env.ErrorIfCRDPathMissing = nil, false
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, cp.Stop())
		}
	}()
	if cp.dir, err = os.MkdirTemp("", "apikey-controlplane-"); err != nil {
		return nil, err
	}
	apiServer := cp.env.ControlPlane.GetAPIServer()
	apiServer.CertDir = filepath.Join(cp.dir, "pki") // Kept, so that it can be started again with the same identity.
	if err = os.Mkdir(apiServer.CertDir, 0o700); err != nil {
		return nil, err
	}
	if emulated := os.Getenv(EmulatedVersion); emulated != "" {
		apiServer.Configure().Set("emulated-version", emulated)
	}
	for name, value := range options.APIServerArgs {
		apiServer.Configure().Set(name, value)
	}
	start := func() (err error) {
		cp.Config, err = cp.env.Start()
		return err
	}
	if err = options.start(start); err != nil {
		return nil, fmt.Errorf("starting etcd and kube-apiserver from %s: %w", assets, err)
	}
	cp.Config.QPS = -1
	if cp.Client, err = client.NewWithWatch(cp.Config, client.Options{Scheme: Scheme()}); err != nil {
		return nil, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: SystemNamespace}}
	if err = cp.Client.Create(context.Background(), namespace); err != nil {
		return nil, err
	}
	if cp.Kubeconfig, err = cp.KubeconfigFor("test-admin", "system:masters"); err != nil {
		return nil, err
	}
	if options.ControllerManager {
		cp.manager, err = startControllerManager(assets, cp.Kubeconfig, options.Log)
	}
	return cp, err
}

// KubeconfigFor writes a kubeconfig for a user in the given groups and returns its path. Stop removes the file.
func (cp *ControlPlane) KubeconfigFor(user string, groups ...string) (string, error) {
	account, err := cp.addUser(user, groups)
	if err != nil {
		return "", err
	}
	content, err := account.KubeConfig()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cp.dir, user+".kubeconfig")
	return path, os.WriteFile(path, content, 0o600)
}

// ConfigFor returns a configuration that reaches the API server as a user in the given groups.
func (cp *ControlPlane) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	account, err := cp.addUser(user, groups)
	if err != nil {
		return nil, err
	}
	return account.Config(), nil
}

func (cp *ControlPlane) addUser(name string, groups []string) (*envtest.AuthenticatedUser, error) {
	cp.accounts.Lock()
	defer cp.accounts.Unlock()
	return cp.env.AddUser(envtest.User{Name: name, Groups: groups}, cp.Config)
}

// ServiceAccountConfig returns a configuration that reaches the API server as a service account of SystemNamespace, by
// impersonation.
func (cp *ControlPlane) ServiceAccountConfig(name string) *rest.Config {
	return cp.serviceAccountConfigIn(SystemNamespace, name)
}

func (cp *ControlPlane) serviceAccountConfigIn(namespace, name string) *rest.Config {
	config := rest.CopyConfig(cp.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + name,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	return config
}

// ServiceAccountKubeconfig writes a kubeconfig that acts as ServiceAccountConfig does, and returns its path. Stop
// removes the file.
func (cp *ControlPlane) ServiceAccountKubeconfig(name string) (string, error) {
	return cp.ServiceAccountKubeconfigAt(name, cp.Config.Host)
}

// ServiceAccountKubeconfigAt is ServiceAccountKubeconfig for another address of the API server, such as a proxy's.
func (cp *ControlPlane) ServiceAccountKubeconfigAt(name, server string) (string, error) {
	return cp.writeKubeconfig(cp.ServiceAccountConfig(name), name, server)
}

// ServiceAccountKubeconfigIn is ServiceAccountKubeconfig for an account of another namespace than SystemNamespace.
func (cp *ControlPlane) ServiceAccountKubeconfigIn(namespace, name string) (string, error) {
	return cp.writeKubeconfig(cp.serviceAccountConfigIn(namespace, name), name, cp.Config.Host)
}

// writeKubeconfig writes a kubeconfig that reaches a server with a configuration's identity, and returns its path.
func (cp *ControlPlane) writeKubeconfig(config *rest.Config, name, server string) (string, error) {
	file := clientcmdapi.NewConfig()
	file.Clusters["test"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: config.CAData}
	file.AuthInfos["test"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData,
		ClientKeyData:         config.KeyData,
		Impersonate:           config.Impersonate.UserName,
		ImpersonateGroups:     config.Impersonate.Groups,
	}
	file.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	file.CurrentContext = "test"
	directory, err := os.MkdirTemp(cp.dir, name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(directory, "kubeconfig")
	return path, clientcmd.WriteToFile(*file, path)
}

// RunKubectl runs kubectl as an administrator and returns what it printed.
func (cp *ControlPlane) RunKubectl(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, cp.Kubectl, append([]string{"--kubeconfig", cp.Kubeconfig}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %v: %w: %s", args, err, out)
	}
	return string(out), err
}

// Stop ends every process that Start started, and removes its files.
func (cp *ControlPlane) Stop() error {
	var errs []error
	if cp.manager != nil {
		errs = append(errs, cp.manager.stop())
	}
	errs = append(errs, cp.env.Stop())
	if cp.dir != "" {
		errs = append(errs, os.RemoveAll(cp.dir))
	}
	return errors.Join(errs...)
}

type process struct {
	command *exec.Cmd
	once    sync.Once
	exited  chan struct{}
}

func startControllerManager(assets, kubeconfig string, log *os.File) (*process, error) {
	command := exec.Command(filepath.Join(assets, "kube-controller-manager"),
		"--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--concurrent-gc-syncs=5",
		"--controllers=garbage-collector-controller,namespace-controller,"+
			"serviceaccount-controller,clusterrole-aggregation-controller")
	if log != nil {
		command.Stdout, command.Stderr = log, log
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting kube-controller-manager: %w", err)
	}
	p := &process{command: command, exited: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) stop() error {
	var err error
	p.once.Do(func() {
		if err = p.command.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return
		}
		select {
		case <-p.exited:
			err = nil
		case <-time.After(20 * time.Second):
			err = p.command.Process.Kill()
		}
	})
	return err
}
