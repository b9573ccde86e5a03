// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// webhooksFixture is a cluster with the configuration of the inject webhook.
type webhooksFixture struct {
	client   *fake.Clientset
	webhooks *Webhooks
}

func newWebhooksFixture(t *testing.T, authority string, s settings.Settings,
	live *admissionv1.MutatingWebhookConfiguration) webhooksFixture {
	t.Helper()
	client := fake.NewClientset()
	secrets := cache.NewIndexer(cache.MetaNamespaceKeyFunc,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: manifests.Namespace,
		Name: manifests.CertificateSecret}}
	if authority != "" {
		secret.Data = map[string][]byte{"ca-cert.pem": []byte(authority)}
	}
	if err := secrets.Add(secret); err != nil {
		t.Fatal(err)
	}
	known := NewSettings(client, "tekton-pipelines", zap.NewNop().Sugar())
	go known.Run(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), known.HasSynced) {
		t.Fatal("the settings were not seen")
	}
	known.set(s)
	w := NewWebhooks(WebhooksConfig{
		Client: client, Secrets: corelisters.NewSecretLister(secrets), Settings: known, TektonNamespace: "tekton-pipelines",
		Name: manifests.InjectWebhook, Now: time.Now,
	})
	if live != nil {
		if err := client.Tracker().Add(live); err != nil {
			t.Fatal(err)
		}
	}
	go w.Run(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), w.informer.HasSynced) {
		t.Fatal("the configuration was not seen")
	}
	if err := w.Promote(pkgreconciler.UniversalBucket(), func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	return webhooksFixture{client: client, webhooks: w}
}

// reconcile returns the configuration as it is afterwards, nil if there is none, and how often it was written.
func (f webhooksFixture) reconcile(t *testing.T) (after *admissionv1.MutatingWebhookConfiguration, writes int) {
	t.Helper()
	f.client.ClearActions()
	if err := f.webhooks.Reconcile(t.Context(), f.webhooks.Key().String()); err != nil {
		t.Fatal(err)
	}
	for _, a := range f.client.Actions() {
		if a.GetVerb() != "list" && a.GetVerb() != "watch" && a.GetVerb() != "get" {
			writes++
		}
	}
	after, err := f.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(context.Background(),
		manifests.InjectWebhook, metav1.GetOptions{})
	if err != nil {
		return nil, writes
	}
	return after, writes
}

func liveWebhooks() *admissionv1.MutatingWebhookConfiguration {
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: manifests.InjectWebhook}}
	for _, name := range []string{"somebody.else", manifests.InjectEnforce, manifests.InjectAudit} {
		c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{Name: name, NamespaceSelector: &metav1.LabelSelector{}})
	}
	return c
}

func TestWebhooksFollowTheSettings(t *testing.T) {
	s := settings.Default()
	s.Enforcement = settings.Enforce
	f := newWebhooksFixture(t, "ca", s, liveWebhooks())
	after, writes := f.reconcile(t)
	if after == nil || writes != 1 {
		t.Fatalf("got %v after %d writes, want it written once", after, writes)
	}
	want := manifests.WebhookSelectors(s, "tekton-pipelines")
	want["somebody.else"] = &metav1.LabelSelector{}
	for _, w := range after.Webhooks {
		if string(w.ClientConfig.CABundle) != "ca" {
			t.Errorf("%s: got authority %q", w.Name, w.ClientConfig.CABundle)
		}
		if diff := cmp.Diff(want[w.Name], w.NamespaceSelector); diff != "" {
			t.Errorf("%s: namespaces (-want +got):\n%s", w.Name, diff)
		}
	}
	if err := f.webhooks.informer.GetStore().Update(after); err != nil {
		t.Fatal(err)
	}
	if _, writes := f.reconcile(t); writes != 0 {
		t.Errorf("a second look has written %d times", writes)
	}
	called := 0
	f.webhooks.settings.OnChange(func() { called++ })
	s.Enforcement = settings.Audit
	f.webhooks.settings.set(s)
	after, writes = f.reconcile(t)
	if called != 1 || writes != 1 {
		t.Fatalf("after a change of the settings: %d calls and %d writes, want 1 and 1", called, writes)
	}
	if diff := cmp.Diff(manifests.WebhookSelectors(s, "tekton-pipelines")[manifests.InjectEnforce],
		after.Webhooks[1].NamespaceSelector); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}

// TestWebhooksAreLeftAlone: what is absent stays absent, and nothing is called that cannot answer.
func TestWebhooksAreLeftAlone(t *testing.T) {
	for name, f := range map[string]webhooksFixture{
		"deleted by an administrator": newWebhooksFixture(t, "ca", settings.Default(), nil),
		"no certificate yet":          newWebhooksFixture(t, "", settings.Default(), liveWebhooks()),
	} {
		before, _ := f.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(),
			manifests.InjectWebhook, metav1.GetOptions{})
		after, writes := f.reconcile(t)
		if writes != 0 || (after != nil && !cmp.Equal(before, after)) {
			t.Errorf("%s: written %d times", name, writes)
		}
	}
}

// TestAuthoritiesOverlap: while the certificate is replaced, API servers accept what either authority signed.
func TestAuthoritiesOverlap(t *testing.T) {
	clock := time.Unix(1000, 0)
	a := &authorities{now: func() time.Time { return clock }}
	for _, step := range []struct {
		after         time.Duration
		current, want string
		again         time.Duration
	}{
		{0, "a", "a", 0},
		{time.Hour, "a", "a", 0},
		{time.Hour, "b", "ba", authorityOverlap},
		{time.Minute, "b", "ba", authorityOverlap - time.Minute},
		{authorityOverlap, "b", "b", 0},
		{time.Hour, "c", "cb", authorityOverlap},
		{time.Minute, "d", "dcb", authorityOverlap - time.Minute}, // nothing that a replica may still use is left out
		{0, "c", "cdb", authorityOverlap - time.Minute},
		{authorityOverlap - time.Minute, "c", "cd", time.Minute},
		{0, "e", "ecd", time.Minute},
		{0, "f", "fecd", time.Minute},
		{0, "g", "gfec", authorityOverlap},
	} {
		clock = clock.Add(step.after)
		got, again := a.remember([]byte(step.current))
		if string(got) != step.want || again != step.again {
			t.Errorf("authority %s after %s: got %q and %s, want %q and %s", step.current, step.after, got, again, step.want,
				step.again)
		}
	}
}

// TestAuthoritiesAreLearned: a keeper that starts while replicas still use the certificate of before keeps that
// accepted.
func TestAuthoritiesAreLearned(t *testing.T) {
	clock := time.Unix(1000, 0)
	a := &authorities{now: func() time.Time { return clock }}
	a.learn([]byte("before"))
	for _, want := range []string{"nowbefore", "now"} {
		if got, _ := a.remember([]byte("now")); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
		a.learn([]byte("something else"))
		clock = clock.Add(authorityOverlap)
	}
}

// TestUnusableSettings: nonsense does not turn signing off, neither after good settings nor at the start.
func TestUnusableSettings(t *testing.T) {
	s := NewSettings(fake.NewClientset(), "tekton-pipelines", zap.NewNop().Sugar())
	go s.Run(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), s.HasSynced) {
		t.Fatal("the settings were not seen")
	}
	update := func(enforcement string) {
		s.read(func() {
			s.signing.event, s.signing.data = true, map[string]string{
				settings.KeyBackend: "oidc-sa-token", settings.KeyEnforcement: enforcement,
			}
		})
	}
	update("nonsense")
	if s.HasSynced() {
		t.Error("settings that nobody can use count as known")
	}
	update("enforce")
	if !s.HasSynced() || s.Get().Enforcement != settings.Enforce {
		t.Errorf("good settings: got synced %v and %v", s.HasSynced(), s.Get().Enforcement)
	}
	update("nonsense")
	if !s.HasSynced() || s.Get().Enforcement != settings.Enforce {
		t.Errorf("nonsense after good settings: got synced %v and %v, want the last good ones", s.HasSynced(),
			s.Get().Enforcement)
	}
}
