package certificates_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/nexuscommerce/apikey-operator/controllers/certificates"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

func TestCertificates(t *testing.T) {
	need.ControlPlane(t)
	RegisterFailHandler(Fail)
	RunSpecs(t, "Certificates")
}

const day = 24 * time.Hour

var cp *controlplane.ControlPlane

// lifetime has an authority replaced with few renewals of what it signs.
var lifetime = certificates.Lifetimes{
	Authority: 200 * day, Successor: 120 * day, Overlap: 30 * day, Serving: 90 * day, Renewal: 30 * day, Settle: day,
}

var _ = BeforeSuite(func() {
	var err error
	cp, err = controlplane.Start(controlplane.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cp.Stop() })
})

// world is a namespace of its own, at a time that stands still.
type world struct {
	namespace string
	clock     *clocktesting.FakePassiveClock
	writes    int
	// breaks is the write that fails; done says whether it is made nevertheless. before runs before each write, once.
	breaks int
	done   bool
	before func()
	// seen is, by authority, when it was first in the bundle.
	seen map[string]time.Time
}

func newWorld(ctx context.Context) *world {
	GinkgoHelper()
	namespace := fixture.Namespace(fixture.Name("system"), "")
	Expect(cp.Client.Create(ctx, namespace)).To(Succeed())
	return &world{namespace: namespace.Name, clock: clocktesting.NewFakePassiveClock(time.Now()), breaks: -1, seen: map[string]time.Time{}}
}

var errCut = errors.New("cut off")

// cutClient lets one write fail, before or after it is made, and checks after each what clients and servers have.
type cutClient struct {
	client.Client

	w *world
}

func (c cutClient) Create(ctx context.Context, object client.Object, _ ...client.CreateOption) error {
	return c.w.write(ctx, func() error { return cp.Client.Create(ctx, object) })
}

func (c cutClient) Update(ctx context.Context, object client.Object, _ ...client.UpdateOption) error {
	return c.w.write(ctx, func() error { return cp.Client.Update(ctx, object) })
}

func (w *world) write(ctx context.Context, write func() error) error {
	if before := w.before; before != nil {
		w.before = nil
		before()
		w.before = before
	}
	w.writes++
	if w.writes-1 == w.breaks && !w.done {
		return errCut
	}
	err := write()
	w.check(ctx)
	if w.writes-1 == w.breaks {
		return errCut
	}
	return err
}

func (w *world) controller() *certificates.Controller {
	return certificates.NewController(certificates.Options{
		Client: cutClient{cp.Client, w}, Live: cp.Client, Clock: w.clock, Log: logr.Discard(), Namespace: w.namespace,
		Serving: certificates.Serving, Lifetimes: lifetime,
	})
}

func (w *world) reconcile(ctx context.Context) time.Duration {
	GinkgoHelper()
	result, err := w.controller().Reconcile(ctx, reconcile.Request{})
	Expect(err).NotTo(HaveOccurred())
	return result.RequeueAfter
}

func (w *world) secret(ctx context.Context, name string) *corev1.Secret {
	secret := &corev1.Secret{}
	if err := cp.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, secret); client.IgnoreNotFound(err) != nil {
		Fail(err.Error())
	} else if err != nil {
		return nil
	}
	return secret
}

func (w *world) bundle(ctx context.Context) []*x509.Certificate {
	GinkgoHelper()
	bundle := &corev1.ConfigMap{}
	if err := cp.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: certificates.BundleName}, bundle); err != nil {
		Expect(client.IgnoreNotFound(err)).To(Succeed())
		return nil
	}
	Expect(bundle.Data[certificates.BundleKey]).NotTo(ContainSubstring("PRIVATE"))
	return decode([]byte(bundle.Data[certificates.BundleKey]))
}

func decode(text []byte) (all []*x509.Certificate) {
	GinkgoHelper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		Expect(err).NotTo(HaveOccurred())
		all = append(all, certificate)
	}
	return all
}

// check is what holds at every moment: a client that has the bundle trusts every server, by all of its names, and for an authority
// that is not the first it has had the bundle for long enough to have read it.
func (w *world) check(ctx context.Context) {
	GinkgoHelper()
	now := w.clock.Now()
	roots := x509.NewCertPool()
	trusted := w.bundle(ctx)
	for _, authority := range trusted {
		roots.AddCert(authority)
		if _, known := w.seen[authority.Subject.CommonName]; !known {
			w.seen[authority.Subject.CommonName] = now
		}
	}
	for name, services := range certificates.Serving {
		secret := w.secret(ctx, name)
		if secret == nil {
			continue
		}
		certificate := decode(secret.Data[corev1.TLSCertKey])[0]
		for _, service := range services {
			for _, form := range []string{"%s", "%s.%s", "%s.%s.svc", "%s.%s.svc.cluster.local"} {
				dnsName := fmt.Sprintf(form, service, w.namespace)
				if form == "%s" {
					dnsName = service
				}
				_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: dnsName, CurrentTime: now})
				Expect(err).NotTo(HaveOccurred(), "%s, %s", name, dnsName)
			}
		}
		first := slices.Min(slices.Collect(func(yield func(int64) bool) {
			for _, at := range w.seen {
				if !yield(at.Unix()) {
					return
				}
			}
		}))
		if since := w.seen[certificate.Issuer.CommonName]; since.Unix() != first {
			Expect(now.Sub(since)).To(BeNumerically(">=", lifetime.Overlap), "published too late to be used")
		}
	}
}

// authorities are who signed the servers' certificates.
func (w *world) authorities(ctx context.Context) map[string]string {
	all := map[string]string{}
	for name := range certificates.Serving {
		if secret := w.secret(ctx, name); secret != nil {
			all[name] = decode(secret.Data[corev1.TLSCertKey])[0].Issuer.CommonName
		}
	}
	return all
}

// change takes an installation through the replacement of its authority, and returns who signs then.
func (w *world) change(ctx context.Context, reconcile func()) string {
	GinkgoHelper()
	begin := w.clock.Now()
	for _, at := range []time.Duration{
		0, lifetime.Serving - lifetime.Renewal, lifetime.Authority - lifetime.Successor, lifetime.Authority - lifetime.Successor + lifetime.Overlap,
		lifetime.Authority - lifetime.Successor + lifetime.Overlap + lifetime.Settle,
	} {
		w.clock.SetTime(begin.Add(at))
		reconcile()
	}
	trusted := w.bundle(ctx)
	Expect(trusted).To(HaveLen(1), "the old authority has left the bundle")
	for _, authority := range w.authorities(ctx) {
		Expect(authority).To(Equal(trusted[0].Subject.CommonName))
	}
	return trusted[0].Subject.CommonName
}

var _ = Describe("Certificates", func() {
	It("are made, and left alone until their time has come", func(ctx SpecContext) {
		w := newWorld(ctx)
		Expect(w.reconcile(ctx)).To(BeNumerically("~", lifetime.Serving-lifetime.Renewal, 2*time.Second))
		Expect(w.writes).To(Equal(2 + len(certificates.Serving)))
		Expect(w.bundle(ctx)).To(HaveLen(1))
		w.check(ctx)
		for name := range certificates.Serving {
			secret := w.secret(ctx, name)
			Expect(secret.Type).To(Equal(corev1.SecretTypeTLS))
			Expect(secret.Data).To(HaveLen(2))
		}
		w.reconcile(ctx)
		Expect(w.writes).To(Equal(2+len(certificates.Serving)), "nothing has changed, nothing is written")
	})

	It("are replaced with their authority, whose successor is known before it signs", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.reconcile(ctx)
		first := w.bundle(ctx)[0].Subject.CommonName
		Expect(w.change(ctx, func() { w.reconcile(ctx) })).NotTo(Equal(first))
		Expect(w.seen).To(HaveLen(2))
	})

	It("come out the same, cut off before or after any write", func(ctx SpecContext) {
		total := func() int {
			w := newWorld(ctx)
			w.change(ctx, func() { w.reconcile(ctx) })
			return w.writes
		}()
		Expect(total).To(BeNumerically(">", 12))
		for _, done := range []bool{false, true} {
			for cut := range total {
				w := newWorld(ctx)
				w.breaks, w.done = cut, done
				w.change(ctx, func() {
					_, err := w.controller().Reconcile(ctx, reconcile.Request{})
					if err != nil {
						Expect(err).To(MatchError(errCut))
						_, err = w.controller().Reconcile(ctx, reconcile.Request{})
					}
					Expect(err).NotTo(HaveOccurred())
				})
				Expect(w.writes).To(BeNumerically(">", cut))
				Expect(w.seen).To(HaveLen(2), "cut off at %d, done %v", cut, done)
			}
		}
	})

	It("come out the same with two controllers, of which one takes over before any write of the other's", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.before = func() { w.reconcile(ctx) }
		w.change(ctx, func() { w.reconcile(ctx) })
		Expect(w.seen).To(HaveLen(2))
	})

	It("are restored, whatever is altered or deleted", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.reconcile(ctx)
		authorities := w.authorities(ctx)
		for name := range certificates.Serving {
			secret := w.secret(ctx, name)
			secret.Data[corev1.TLSPrivateKeyKey] = []byte("none")
			Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		}
		bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: certificates.BundleName}}
		Expect(cp.Client.Delete(ctx, bundle)).To(Succeed())
		w.reconcile(ctx)
		w.check(ctx)
		Expect(w.authorities(ctx)).To(Equal(authorities))

		bundle = &corev1.ConfigMap{}
		Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: certificates.BundleName}, bundle)).To(Succeed())
		bundle.Data[certificates.BundleKey] = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
		Expect(cp.Client.Update(ctx, bundle)).To(Succeed())
		w.reconcile(ctx)
		w.check(ctx)
	})

	It("have a new authority at once where its key is lost", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.reconcile(ctx)
		secret := w.secret(ctx, certificates.AuthorityName)
		secret.Data[corev1.TLSPrivateKeyKey] = []byte("none")
		Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		result, err := w.controllerUnchecked().Reconcile(ctx, reconcile.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).To(BeNumerically("<=", lifetime.Settle))
		Expect(w.bundle(ctx)).To(HaveLen(2), "certificates by the lost one are still served")

		Expect(cp.Client.Delete(ctx, w.secret(ctx, certificates.AuthorityName))).To(Succeed()) // The key has leaked.
		_, err = w.controllerUnchecked().Reconcile(ctx, reconcile.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(w.bundle(ctx)).To(HaveLen(1), "nobody trusts the leaked one")
	})

	It("leave somebody else's Secrets as they are", func(ctx SpecContext) {
		w := newWorld(ctx)
		theirs := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "apikey-verifier-tls"}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{corev1.TLSCertKey: []byte("theirs"), corev1.TLSPrivateKeyKey: []byte("theirs")},
		}
		Expect(cp.Client.Create(ctx, theirs)).To(Succeed())
		_, err := w.controllerUnchecked().Reconcile(ctx, reconcile.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(w.secret(ctx, theirs.Name)).To(Equal(theirs))
		Expect(w.secret(ctx, certificates.ControllerSecret)).NotTo(BeNil())

		w = newWorld(ctx)
		theirs = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: certificates.AuthorityName}}
		Expect(cp.Client.Create(ctx, theirs)).To(Succeed())
		_, err = w.controller().Reconcile(ctx, reconcile.Request{})
		Expect(err).To(MatchError(ContainSubstring("not the controller's")))
		Expect(w.secret(ctx, theirs.Name)).To(Equal(theirs))
		Expect(w.writes).To(BeZero())
	})

	It("are the controller's own too, as soon as they are there", func(ctx SpecContext) {
		w := newWorld(ctx)
		own := certificates.NewOwn(w.namespace)
		own.ReadFrom(cp.Client)
		_, err := own.GetCertificate(nil)
		Expect(err).To(MatchError(ContainSubstring("no certificate yet")))
		w.reconcile(ctx)
		first, err := own.GetCertificate(nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(first.Leaf.DNSNames).To(ContainElement("apikey-controller-metrics." + w.namespace + ".svc"))
		w.clock.SetTime(w.clock.Now().Add(lifetime.Serving - lifetime.Renewal))
		w.reconcile(ctx)
		second, err := own.GetCertificate(nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(second.Leaf.Equal(first.Leaf)).To(BeFalse())

		secret := w.secret(ctx, certificates.ControllerSecret)
		secret.Data[corev1.TLSCertKey] = []byte("none")
		Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		Expect(own.GetCertificate(nil)).To(Equal(second))
	})
})

// controllerUnchecked is one for what a client notices: authorities that go at once.
func (w *world) controllerUnchecked() *certificates.Controller {
	return certificates.NewController(certificates.Options{
		Client: cp.Client, Live: cp.Client, Clock: w.clock, Log: logr.Discard(), Namespace: w.namespace,
		Serving: certificates.Serving, Lifetimes: lifetime,
	})
}
