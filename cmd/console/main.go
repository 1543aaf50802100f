// The console serves the settings page of API keys: the list, live, with the changes that each user may make. It has no
// rights of its own: its users act with their own tokens of the cluster. Any number of replicas can run side by side.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/nexuscommerce/apikey-operator/internal/console"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
	"github.com/nexuscommerce/apikey-operator/internal/gctuning"
	"github.com/nexuscommerce/apikey-operator/internal/httpserver"
	"github.com/nexuscommerce/apikey-operator/internal/limit"
	"github.com/nexuscommerce/apikey-operator/internal/monitor"
	"github.com/nexuscommerce/apikey-operator/internal/monitor/managed"
)

func main() {
	gctuning.RespectContainerLimit()
	o := &options{}
	daemon.Main("apikey-console", o,
		func(ctx context.Context, config *rest.Config) error { return serve(ctx, *o, config) })
}

// serve runs the console until it is told to stop.
func serve(ctx context.Context, o options, config *rest.Config) error {
	if err := o.checkAddresses(); err != nil {
		return err
	}
	// At high verbosity, client-go logs the API server's answers, Secrets among them.
	klog.SetLogger(logr.Discard())
	key, err := o.sessionKey()
	if err != nil {
		return err
	}
	page, err := console.New(console.Options{
		Config: config, Namespace: o.namespace, Hosts: o.allowed, Header: o.header, Key: key, Lifetime: o.lifetime,
		Peers: o.findPeers(), PeersInPlainText: o.plainText,
		Log: ctrl.Log.WithName("console"),
	})
	if err != nil {
		return fmt.Errorf("--session-key-file: %w", err) // New checks none of the other options.
	}
	certificate, err := o.certificate()
	if err != nil {
		return err
	}
	metrics.Registry.MustRegister(monitor.Build("apikey-console"))
	// The manager runs servers and no controllers: it gets no credentials, and sends nothing to the API server.
	endpoint := managed.Endpoint{Address: o.metricsAddress, Health: o.healthAddress}
	if certificate != nil {
		endpoint.Certificate, endpoint.Reread = certificate.GetCertificate, certificate
	}
	m, err := ctrl.NewManager(rest.AnonymousClientConfig(config), ctrl.Options{
		Metrics: endpoint.Options(), GracefulShutdownTimeout: &o.shutdownTimeout,
	})
	if err != nil {
		return err
	}
	if err := endpoint.AddTo(m); err != nil {
		return err
	}
	if err := m.Add(pageServer(o, page, certificate)); err != nil {
		return err
	}
	return m.Start(ctx)
}

// pageServer returns the server of the page.
func pageServer(o options, page *console.Console, certificate *certwatcher.CertWatcher) manager.RunnableFunc {
	return func(ctx context.Context) error {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.address)
		if err != nil {
			return fmt.Errorf("--http-bind-address=%s: %w", o.address, err)
		}
		var secure *tls.Config
		if certificate != nil {
			secure = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.GetCertificate}
		}
		var pulled sync.WaitGroup
		pulled.Add(1)
		go page.KeepUp(ctx, pulled.Done)
		pulled.Wait() // Sign-outs at other replicas are known before the first request.
		ctrl.Log.WithName("console").Info("Answering", "address", listener.Addr().String())
		return httpserver.Serve(ctx, page.NewServer(), limit.NewTLS(listener, console.Bounds, secure), o.shutdownTimeout)
	}
}

// sessionKey reads the key that sessions are sealed with; nil means that each process makes its own.
func (o *options) sessionKey() ([]byte, error) {
	if o.keyFile == "" {
		return nil, nil
	}
	key, err := os.ReadFile(o.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--session-key-file: %w", err)
	}
	return key, nil
}

// certificate returns the certificate of every port, which is read again when its files change; nil means plain text.
func (o *options) certificate() (*certwatcher.CertWatcher, error) {
	if o.plainText {
		return nil, nil
	}
	certificate, err := certwatcher.New(o.tlsCert, o.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert-file=%s, --tls-private-key-file=%s: %w", o.tlsCert, o.tlsKey, err)
	}
	return certificate, nil
}
