package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// cluster is the Kubernetes API that the demo uses, with the rights of whoever runs it.
type cluster struct {
	ws         *workspace
	say        transcript
	kubectl    string // path
	kubeconfig string // path, or several as in KUBECONFIG
	clients    kubernetes.Interface
	flat       clientcmdapi.Config // the current context only, without references to files
	stop       func() error
}

// startCluster starts a control plane of the demo's own, with an administrator's kubeconfig at a path. If keep is set,
// it includes a kube-controller-manager, because whoever deletes an ApiKey expects its Secret to be deleted too; the
// walk-through deletes nothing.
func startCluster(ws *workspace, say transcript, kubeconfig string, keep bool) (*cluster, error) {
	manager, err := os.Create(ws.log("kube-controller-manager"))
	if err != nil {
		return nil, err
	}
	defer manager.Close() //nolint:errcheck // The child has its own descriptor.
	plane, err := controlplane.Start(controlplane.Options{ControllerManager: keep, SaveMemory: keep, Log: manager})
	if err != nil {
		return nil, err
	}
	c := &cluster{ws: ws, say: say, kubectl: plane.Kubectl, kubeconfig: kubeconfig}
	c.stop = func() error { return errors.Join(plane.Stop(), os.RemoveAll(kubeconfig)) }
	content, err := os.ReadFile(plane.Kubeconfig)
	if err == nil {
		err = errors.Join(os.WriteFile(c.kubeconfig, content, 0o600), c.connect())
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// useCluster uses the cluster of an existing kubeconfig, which is left running.
func useCluster(ws *workspace, say transcript, kubeconfig string) (*cluster, error) {
	paths := filepath.SplitList(kubeconfig)
	for i, path := range paths { // kubectl runs at the top of the checkout, wherever the demo is run.
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		paths[i] = absolute
	}
	c := &cluster{
		ws: ws, say: say, kubectl: "kubectl", kubeconfig: strings.Join(paths, string(os.PathListSeparator)),
		stop: func() error { return nil },
	}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		c.kubectl = filepath.Join(assets, "kubectl")
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	return c, nil
}

// connect reads the kubeconfig's current context.
func (c *cluster) connect() error {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(c.kubeconfig)}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil)
	raw, err := loader.RawConfig()
	if err != nil {
		return err
	}
	c.flat = raw
	if err := errors.Join(clientcmdapi.MinifyConfig(&c.flat), clientcmdapi.FlattenConfig(&c.flat)); err != nil {
		return fmt.Errorf("reading the kubeconfig %s: %w", c.kubeconfig, err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return err
	}
	c.clients, err = kubernetes.NewForConfig(config)
	return err
}

// server returns the API server's address.
func (c *cluster) server() string {
	return c.flat.Clusters[c.flat.Contexts[c.flat.CurrentContext].Cluster].Server
}

// run shows a kubectl command and what it prints.
func (c *cluster) run(ctx context.Context, args ...string) error {
	c.say.typed("kubectl " + shell(args...))
	out, err := c.ask(ctx, args...)
	c.say.block(out)
	return err
}

// ask runs kubectl without showing it, and returns what it prints.
func (c *cluster) ask(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	command := c.command(ctx, args...)
	var complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", shell(args...), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// command returns a kubectl command that runs at the top of the checkout, with the rights of whoever runs the demo.
func (c *cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, c.kubectl, args...)
	command.Dir = c.ws.root
	command.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.WaitDelay = grace
	return command
}

// tokenLifetime is how long a component's token is valid. renewTokens replaces it well before.
const tokenLifetime = 2 * time.Hour

// serviceAccountKubeconfig writes a kubeconfig for a service account of the system namespace, and returns its path. A
// component with it has the rights that config/rbac gives it in a cluster, and no others.
func (c *cluster) serviceAccountKubeconfig(ctx context.Context, account string) (string, error) {
	if err := c.writeToken(ctx, account); err != nil {
		return "", err
	}
	config := c.flat.DeepCopy()
	user := clientcmdapi.NewAuthInfo()
	user.TokenFile = c.tokenFile(account)
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{account: user}
	config.Contexts[config.CurrentContext].AuthInfo = account
	path := filepath.Join(c.ws.tmp, account+".kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}

// writeToken requests a token, as "kubectl create token" does, and writes it to a file. Clients read the file again
// every minute.
func (c *cluster) writeToken(ctx context.Context, account string) error {
	seconds := int64(tokenLifetime.Seconds())
	tokenRequest := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	issued, err := c.clients.CoreV1().ServiceAccounts(controlplane.SystemNamespace).
		CreateToken(ctx, account, tokenRequest, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("asking for a token of the service account %s: %w", account, err)
	}
	part := c.tokenFile(account) + ".new" // Renamed when it is complete: a client may read it at any time.
	return errors.Join(os.WriteFile(part, []byte(issued.Status.Token), 0o600), os.Rename(part, c.tokenFile(account)))
}

func (c *cluster) tokenFile(account string) string {
	return filepath.Join(c.ws.tmp, account+".token")
}

// renewTokens keeps the accounts' tokens valid until the context ends. A renewal that fails is tried again in time.
func (c *cluster) renewTokens(ctx context.Context, accounts ...string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(tokenLifetime / 4):
		}
		for _, account := range accounts {
			if err := c.writeToken(ctx, account); err != nil && ctx.Err() == nil {
				c.say.line("%s", err)
			}
		}
	}
}
