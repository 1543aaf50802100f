package certificates_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// lifetimes are those of an authority that is replaced after few renewals of what it signs.
var lifetimes = certificates.Lifetimes{
	Authority: 200 * day, Successor: 120 * day, Overlap: 30 * day, Serving: 90 * day, Renewal: 30 * day, Settle: day,
}

var _ = BeforeSuite(func() {
	var err error
	cp, err = controlplane.Start(controlplane.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cp.Stop() })
})

// environment is a namespace of its own, with a clock that stands still.
type environment struct {
	namespace string
	clock     *clocktesting.FakePassiveClock
	writes    int
	// breaks is the number of the write that fails, and done reports whether it is made nevertheless.
	breaks int
	done   bool
	// before, if not nil, is called before each write, but not before the writes that it makes itself.
	before func()
	// seen has, by the authority's name, when it was first in the bundle.
	seen map[string]time.Time
}

func newEnvironment(ctx context.Context) *environment {
	GinkgoHelper()
	namespace := fixture.Namespace(fixture.Name("system"), "")
	Expect(cp.Client.Create(ctx, namespace)).To(Succeed())
	return &environment{
		namespace: namespace.Name, clock: clocktesting.NewFakePassiveClock(time.Now()),
		breaks: -1, seen: map[string]time.Time{},
	}
}

var errCut = errors.New("cut off")

// cutClient lets one write fail, before or after it is made, and checks after each what clients and servers have.
type cutClient struct {
	client.Client

	e *environment
}

func (c cutClient) Create(ctx context.Context, object client.Object, _ ...client.CreateOption) error {
	return c.e.write(ctx, func() error { return cp.Client.Create(ctx, object) })
}

func (c cutClient) Update(ctx context.Context, object client.Object, _ ...client.UpdateOption) error {
	return c.e.write(ctx, func() error { return cp.Client.Update(ctx, object) })
}

// quotingClient refuses to write Secrets, and quotes them, as a webhook may.
type quotingClient struct{ client.Client }

func (quotingClient) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	return quote(object)
}

func (quotingClient) Update(_ context.Context, object client.Object, _ ...client.UpdateOption) error {
	return quote(object)
}

func quote(object client.Object) error {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return nil
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: 400, Reason: metav1.StatusReasonBadRequest,
		Message: `admission webhook "w" denied the request: ` + string(secret.Data[corev1.TLSPrivateKeyKey]),
	}}
}

func (e *environment) write(ctx context.Context, write func() error) error {
	if before := e.before; before != nil {
		e.before = nil
		before()
		e.before = before
	}
	e.writes++
	if e.writes-1 == e.breaks && !e.done {
		return errCut
	}
	err := write()
	e.check(ctx)
	if e.writes-1 == e.breaks {
		return errCut
	}
	return err
}

func (e *environment) controller() *certificates.Controller {
	return certificates.NewController(certificates.Options{
		Client: cutClient{cp.Client, e}, Live: cp.Client, Clock: e.clock, Log: logr.Discard(), Namespace: e.namespace,
		Serving: certificates.Serving, Lifetimes: lifetimes,
	})
}

// reconcile reconciles once, and again after each conflict. It returns when something is due next.
func (e *environment) reconcile(ctx context.Context) time.Duration {
	GinkgoHelper()
	for {
		result, err := e.controller().Reconcile(ctx, reconcile.Request{})
		Expect(err).NotTo(HaveOccurred())
		if result.RequeueAfter >= time.Second {
			return result.RequeueAfter
		}
	}
}

func (e *environment) secret(ctx context.Context, name string) *corev1.Secret {
	secret := &corev1.Secret{}
	err := cp.Client.Get(ctx, client.ObjectKey{Namespace: e.namespace, Name: name}, secret)
	Expect(client.IgnoreNotFound(err)).To(Succeed())
	if err != nil {
		return nil
	}
	return secret
}

func (e *environment) bundle(ctx context.Context) []*x509.Certificate {
	GinkgoHelper()
	bundle := &corev1.ConfigMap{}
	err := cp.Client.Get(ctx, client.ObjectKey{Namespace: e.namespace, Name: certificates.BundleName}, bundle)
	Expect(client.IgnoreNotFound(err)).To(Succeed())
	if err != nil {
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

// check checks what holds at every moment: a client that has the bundle trusts every server, by all of its names; and
// an authority that is not the first was in the bundle for long enough before it signed.
func (e *environment) check(ctx context.Context) {
	GinkgoHelper()
	now := e.clock.Now()
	roots := x509.NewCertPool()
	trusted := e.bundle(ctx)
	for _, authority := range trusted {
		roots.AddCert(authority)
		if _, known := e.seen[authority.Subject.CommonName]; !known {
			e.seen[authority.Subject.CommonName] = now
		}
	}
	for name, services := range certificates.Serving {
		secret := e.secret(ctx, name)
		if secret == nil {
			continue
		}
		certificate := decode(secret.Data[corev1.TLSCertKey])[0]
		for _, service := range services {
			for _, form := range []string{"%s", "%s.%s", "%s.%s.svc", "%s.%s.svc.cluster.local"} {
				dnsName := fmt.Sprintf(form, service, e.namespace)
				if form == "%s" {
					dnsName = service
				}
				_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: dnsName, CurrentTime: now})
				Expect(err).NotTo(HaveOccurred(), "%s, %s", name, dnsName)
			}
		}
		first := slices.MinFunc(slices.Collect(maps.Values(e.seen)), time.Time.Compare)
		if since := e.seen[certificate.Issuer.CommonName]; !since.Equal(first) {
			Expect(now.Sub(since)).To(BeNumerically(">=", lifetimes.Overlap), "published too late to be used")
		}
	}
}

// authorities returns the name of the authority that signed each server's certificate.
func (e *environment) authorities(ctx context.Context) map[string]string {
	all := map[string]string{}
	for name := range certificates.Serving {
		if secret := e.secret(ctx, name); secret != nil {
			all[name] = decode(secret.Data[corev1.TLSCertKey])[0].Issuer.CommonName
		}
	}
	return all
}

// replaceAuthority takes an installation through the replacement of its authority, and returns the new one's name.
func (e *environment) replaceAuthority(ctx context.Context, reconcileOnce func()) string {
	GinkgoHelper()
	begin := e.clock.Now()
	renewal := begin.Add(lifetimes.Serving - lifetimes.Renewal)
	announced := begin.Add(lifetimes.Authority - lifetimes.Successor)
	promoted := announced.Add(lifetimes.Overlap)
	for _, at := range []time.Time{begin, renewal, announced, promoted, promoted.Add(lifetimes.Settle)} {
		e.clock.SetTime(at)
		reconcileOnce()
	}
	trusted := e.bundle(ctx)
	Expect(trusted).To(HaveLen(1), "the old authority has left the bundle")
	for _, authority := range e.authorities(ctx) {
		Expect(authority).To(Equal(trusted[0].Subject.CommonName))
	}
	return trusted[0].Subject.CommonName
}

var _ = Describe("Certificates", func() {
	It("are issued, and left alone until they are due for renewal", func(ctx SpecContext) {
		e := newEnvironment(ctx)
		Expect(e.reconcile(ctx)).To(BeNumerically("~", lifetimes.Serving-lifetimes.Renewal, 2*time.Second))
		Expect(e.writes).To(Equal(2 + len(certificates.Serving)))
		Expect(e.bundle(ctx)).To(HaveLen(1))
		e.check(ctx)
		for name := range certificates.Serving {
			secret := e.secret(ctx, name)
			Expect(secret.Type).To(Equal(corev1.SecretTypeTLS))
			Expect(secret.Data).To(HaveLen(2))
		}
		e.reconcile(ctx)
		Expect(e.writes).To(Equal(2+len(certificates.Serving)), "nothing has changed, nothing is written")
	})

	It("are replaced with their authority, and clients know the next one before it signs", func(ctx SpecContext) {
		e := newEnvironment(ctx)
		e.reconcile(ctx)
		first := e.bundle(ctx)[0].Subject.CommonName
		Expect(e.replaceAuthority(ctx, func() { e.reconcile(ctx) })).NotTo(Equal(first))
		Expect(e.seen).To(HaveLen(2))
	})

	It("come out the same when a reconciliation is cut off before or after any write", func(ctx SpecContext) {
		total := func() int {
			e := newEnvironment(ctx)
			e.replaceAuthority(ctx, func() { e.reconcile(ctx) })
			return e.writes
		}()
		Expect(total).To(BeNumerically(">", 12))
		for _, done := range []bool{false, true} {
			for cut := range total {
				e := newEnvironment(ctx)
				e.breaks, e.done = cut, done
				e.replaceAuthority(ctx, func() {
					_, err := e.controller().Reconcile(ctx, reconcile.Request{})
					if err != nil {
						Expect(err).To(MatchError(errCut))
						_, err = e.controller().Reconcile(ctx, reconcile.Request{})
					}
					Expect(err).NotTo(HaveOccurred())
				})
				Expect(e.writes).To(BeNumerically(">", cut))
				Expect(e.seen).To(HaveLen(2), "cut off at %d, done %v", cut, done)
			}
		}
	})

	It("come out the same if another controller reconciles before each write", func(ctx SpecContext) {
		e := newEnvironment(ctx)
		e.before = func() { e.reconcile(ctx) }
		e.replaceAuthority(ctx, func() { e.reconcile(ctx) })
		Expect(e.seen).To(HaveLen(2))
	})

	It("are restored, whatever is altered or deleted", func(ctx SpecContext) {
		e := newEnvironment(ctx)
		e.reconcile(ctx)
		authorities := e.authorities(ctx)
		for name := range certificates.Serving {
			secret := e.secret(ctx, name)
			secret.Data[corev1.TLSPrivateKeyKey] = []byte("none")
			Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		}
		bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: certificates.BundleName}}
		Expect(cp.Client.Delete(ctx, bundle)).To(Succeed())
		e.reconcile(ctx)
		e.check(ctx)
		Expect(e.authorities(ctx)).To(Equal(authorities))

		bundle = &corev1.ConfigMap{}
		name := client.ObjectKey{Namespace: e.namespace, Name: certificates.BundleName}
		Expect(cp.Client.Get(ctx, name, bundle)).To(Succeed())
		bundle.Data[certificates.BundleKey] = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
		Expect(cp.Client.Update(ctx, bundle)).To(Succeed())
		e.reconcile(ctx)
		e.check(ctx)
	})

	It("have a new authority at once when its key is lost", func(ctx SpecContext) {
		e := newEnvironment(ctx)
		e.reconcile(ctx)
		secret := e.secret(ctx, certificates.AuthorityName)
		secret.Data[corev1.TLSPrivateKeyKey] = []byte("none")
		Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		result, err := e.uncheckedController().Reconcile(ctx, reconcile.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).To(BeNumerically("<=", lifetimes.Settle))
		Expect(e.bundle(ctx)).To(HaveLen(2), "certificates that the lost one signed are still served")

		Expect(cp.Client.Delete(ctx, e.secret(ctx, certificates.AuthorityName))).To(Succeed()) // The key has leaked.
		_, err = e.uncheckedController().Reconcile(ctx, reconcile.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(e.bundle(ctx)).To(HaveLen(1), "clients no longer trust the leaked one")
	})

	It("are refused without their private keys in the error, which is logged", func(ctx SpecContext) {
		// It fails when Controller.save returns what the API server has answered.
		e := newEnvironment(ctx)
		refusing := certificates.NewController(certificates.Options{
			Client: quotingClient{cp.Client}, Live: cp.Client, Clock: e.clock, Log: logr.Discard(), Namespace: e.namespace,
			Serving: certificates.Serving, Lifetimes: lifetimes,
		})
		_, err := refusing.Reconcile(ctx, reconcile.Request{})
		Expect(err).To(MatchError(ContainSubstring(`admission webhook "w" denied the request`)))
		Expect(err.Error()).NotTo(ContainSubstring("PRIVATE"))

		e.reconcile(ctx)
		e.clock.SetTime(e.clock.Now().Add(lifetimes.Serving - lifetimes.Renewal)) // It is an update now.
		_, err = refusing.Reconcile(ctx, reconcile.Request{})
		Expect(err).To(MatchError(ContainSubstring(`admission webhook "w" denied the request`)))
		Expect(err.Error()).NotTo(ContainSubstring("PRIVATE"))
	})

	It("leave somebody else's Secrets as they are", func(ctx SpecContext) {
		e := newEnvironment(ctx)
		theirs := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "apikey-verifier-tls"}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{corev1.TLSCertKey: []byte("theirs"), corev1.TLSPrivateKeyKey: []byte("theirs")},
		}
		Expect(cp.Client.Create(ctx, theirs)).To(Succeed())
		_, err := e.uncheckedController().Reconcile(ctx, reconcile.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(e.secret(ctx, theirs.Name)).To(Equal(theirs))
		Expect(e.secret(ctx, certificates.ControllerSecret)).NotTo(BeNil())

		e = newEnvironment(ctx)
		theirs = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: certificates.AuthorityName}}
		Expect(cp.Client.Create(ctx, theirs)).To(Succeed())
		_, err = e.controller().Reconcile(ctx, reconcile.Request{})
		Expect(err).To(MatchError(ContainSubstring("not the controller's")))
		Expect(e.secret(ctx, theirs.Name)).To(Equal(theirs))
		Expect(e.writes).To(BeZero())
	})

	It("are used by the controller's own server as soon as they are there", func(ctx SpecContext) {
		e := newEnvironment(ctx)
		own := certificates.NewOwn(cp.Client, e.namespace)
		_, err := own.GetCertificate(nil)
		Expect(err).To(MatchError(ContainSubstring("no certificate yet")))
		e.reconcile(ctx)
		first, err := own.GetCertificate(nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(first.Leaf.DNSNames).To(ContainElement("apikey-controller-metrics." + e.namespace + ".svc"))
		e.clock.SetTime(e.clock.Now().Add(lifetimes.Serving - lifetimes.Renewal))
		e.reconcile(ctx)
		second, err := own.GetCertificate(nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(second.Leaf.Equal(first.Leaf)).To(BeFalse())

		secret := e.secret(ctx, certificates.ControllerSecret)
		secret.Data[corev1.TLSCertKey] = []byte("none")
		Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		Expect(own.GetCertificate(nil)).To(Equal(second))
	})
})

// uncheckedController returns a controller for cases that clients do notice: an authority that is lost at once.
func (e *environment) uncheckedController() *certificates.Controller {
	return certificates.NewController(certificates.Options{
		Client: cp.Client, Live: cp.Client, Clock: e.clock, Log: logr.Discard(), Namespace: e.namespace,
		Serving: certificates.Serving, Lifetimes: lifetimes,
	})
}
