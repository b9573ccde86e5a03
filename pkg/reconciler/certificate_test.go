// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// certificateLab is a cluster with the Secret, created at noon by the API server's clock.
type certificateLab struct {
	*Certificate
	fake  *fake.Clientset
	known cache.Indexer
	ahead time.Duration // the replica's clock
}

func noon() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

func newCertificateLab(t *testing.T, data map[string][]byte) *certificateLab {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: manifests.Namespace, Name: manifests.CertificateSecret, CreationTimestamp: metav1.NewTime(noon()),
		},
		Data: data,
	}
	lab := &certificateLab{
		fake: fake.NewClientset(secret),
		known: cache.NewIndexer(cache.MetaNamespaceKeyFunc,
			cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
	}
	if err := lab.known.Add(secret); err != nil {
		t.Fatal(err)
	}
	lab.Certificate = NewCertificate(lab.fake, corelisters.NewSecretLister(lab.known),
		func() time.Time { return noon().Add(lab.ahead) },
		zap.NewNop().Sugar())
	if err := lab.Promote(pkgreconciler.UniversalBucket(),
		func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	return lab
}

// renew reconciles and returns what the Secret holds afterwards.
func (l *certificateLab) renew(t *testing.T) map[string][]byte {
	t.Helper()
	err := l.Reconcile(t.Context(), l.Key().String())
	if again, after := controller.IsRequeueKey(err); !again || after != 10*time.Second {
		t.Fatalf("expected to look again in ten seconds, got %v", err)
	}
	secret, err := l.fake.CoreV1().Secrets(manifests.Namespace).Get(t.Context(), manifests.CertificateSecret,
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.known.Update(secret); err != nil {
		t.Fatal(err)
	}
	return secret.Data
}

// wantServing wants an API server with this clock to accept the certificate.
func wantServing(t *testing.T, data map[string][]byte, at time.Time) {
	t.Helper()
	pair, err := tls.X509KeyPair(data[certresources.ServerCert], data[certresources.ServerKey])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(data[certresources.CACert])
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "tekton-sign-controller.tekton-sign.svc",
		CurrentTime: at}); err != nil {
		t.Errorf("at %s: %v", at.Format(time.RFC3339), err)
	}
}

func TestCertificateIsMadeAndKept(t *testing.T) {
	lab := newCertificateLab(t, nil)
	first := lab.renew(t)
	wantServing(t, first, noon().Add(-59*time.Minute)) // an API server that is behind the others
	wantServing(t, first, noon().Add(7*24*time.Hour-time.Minute))
	for _, later := range []time.Duration{time.Hour, 6*24*time.Hour - time.Minute} {
		lab.ahead = later
		if again := lab.renew(t); !bytes.Equal(first[certresources.ServerCert], again[certresources.ServerCert]) {
			t.Errorf("replaced after %s", later)
		}
	}
	lab.ahead = 6*24*time.Hour + time.Minute
	if again := lab.renew(t); bytes.Equal(first[certresources.ServerCert], again[certresources.ServerCert]) {
		t.Error("expected another certificate a day before the end, got the same")
	}
}

// Whatever the clock of the replica that makes it says, API servers accept it at once, and after that clock was put
// right.
func TestCertificateOfAClockThatIsAhead(t *testing.T) {
	for _, ahead := range []time.Duration{time.Minute, 8 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		lab := newCertificateLab(t, nil)
		lab.renew(t)
		lab.ahead = ahead
		made := lab.renew(t)
		wantServing(t, made, noon())
		lab.ahead = 0
		if again := lab.renew(t); !bytes.Equal(made[certresources.ServerCert], again[certresources.ServerCert]) {
			t.Errorf("ahead by %s: replaced again when the clock was right", ahead)
		}
	}
}

func TestCertificateThatIsAmiss(t *testing.T) {
	pair := func(notBefore, notAfter time.Duration) map[string][]byte {
		made, err := newServingPair(noon().Add(notBefore), noon().Add(notAfter))
		if err != nil {
			t.Fatal(err)
		}
		return map[string][]byte{
			certresources.ServerKey: made.key, certresources.ServerCert: made.certificate, certresources.CACert: made.authority,
		}
	}
	with := func(name string, value []byte) map[string][]byte {
		data := pair(0, 72*time.Hour)
		data[name] = value
		return data
	}
	foreign := pair(0, 72*time.Hour)
	key, certificate, authority, err := certresources.CreateCerts(t.Context(), "another", "namespace",
		noon().Add(72*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data map[string][]byte
		kept bool
	}{
		"good":                    {pair(0, 72*time.Hour), true},
		"ends within a day":       {pair(0, 24*time.Hour), false},
		"has ended":               {pair(-72*time.Hour, -time.Hour), false},
		"begins after the Secret": {pair(time.Hour, 72*time.Hour), false},
		"no key":                  {with(certresources.ServerKey, nil), false},
		"another key":             {with(certresources.ServerKey, foreign[certresources.ServerKey]), false},
		"no certificate":          {with(certresources.ServerCert, nil), false},
		"nonsense":                {with(certresources.ServerCert, []byte("-----BEGIN")), false},
		"no authority":            {with(certresources.CACert, nil), false},
		"another authority":       {with(certresources.CACert, foreign[certresources.CACert]), false},
		"of another host, from a day after now": {map[string][]byte{certresources.ServerKey: key,
			certresources.ServerCert: certificate, certresources.CACert: authority}, false},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newCertificateLab(t, test.data)
			before := bytes.Clone(test.data[certresources.ServerCert])
			after := lab.renew(t)
			if kept := bytes.Equal(before, after[certresources.ServerCert]); kept != test.kept {
				t.Errorf("kept: expected %t, got %t", test.kept, kept)
			}
			wantServing(t, after, noon())
		})
	}
}

func TestCertificateIsLeftAlone(t *testing.T) {
	lab := newCertificateLab(t, nil)
	lab.Demote(pkgreconciler.UniversalBucket())
	if err := lab.Reconcile(t.Context(), lab.Key().String()); !controller.IsSkipKey(err) {
		t.Errorf("a replica that does not lead: expected to skip, got %v", err)
	}
	gone := newCertificateLab(t, nil)
	if err := gone.known.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	if err := gone.Reconcile(t.Context(), gone.Key().String()); err != nil || len(gone.fake.Actions()) != 0 {
		t.Errorf("no Secret: expected nothing, got %v, %v", err, gone.fake.Actions())
	}
	for name, answer := range map[string]error{
		"somebody else was faster": apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "webhook-certificate",
			errors.New("x")),
		"forbidden": apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "webhook-certificate",
			errors.New("x")),
	} {
		lab := newCertificateLab(t, nil)
		lab.fake.PrependReactor("update", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true,
				nil, answer
		})
		err := lab.Reconcile(t.Context(), lab.Key().String())
		if again, _ := controller.IsRequeueKey(err); again == apierrors.IsForbidden(answer) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
