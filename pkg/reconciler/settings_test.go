// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "tekton-pipelines", Name: name}, Data: data}
}

// TestSettingsOfSPIRE reads both ConfigMaps. The backend spire waits for Tekton's, and a mistake in it keeps the
// last good settings in force.
func TestSettingsOfSPIRE(t *testing.T) {
	on := configMap("config-signing", map[string]string{"enforce-nonfalsifiability": "spire"})
	client := fake.NewClientset(on, configMap("config-spire", map[string]string{"spire-trust-domain": "ci.example"}))
	s := NewSettings(client, "tekton-pipelines", zap.NewNop().Sugar())
	go s.signing.informer.RunWithContext(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), s.signing.seen.HasSynced) {
		t.Fatal("ConfigMap config-signing was not seen")
	}
	if s.HasSynced() || s.Get().Backend != signing.BackendNone {
		t.Errorf("without config-spire: got synced %t and backend %s", s.HasSynced(), s.Get().Backend)
	}
	more := s.more["config-spire"]
	go s.run(t.Context(), more)
	if !cache.WaitForCacheSync(t.Context().Done(), s.HasSynced) {
		t.Fatal("the settings were not seen")
	}
	wantTrustDomain(t, s, "ci.example")

	s.read(func() { more.data = map[string]string{"spire-trust-domain": "Not a domain"} })
	wantTrustDomain(t, s, "ci.example")
	s.read(func() { more.data = map[string]string{"spire-trust-domain": "other.example"} })
	wantTrustDomain(t, s, "other.example")
	s.read(func() { more.data = nil })
	wantTrustDomain(t, s, "example.org") // Tekton's default
}

func wantTrustDomain(t *testing.T, s *Settings, want string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for s.Get().SPIRE.TrustDomain != want && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if got := s.Get(); got.SPIRE.TrustDomain != want || got.Backend != signing.BackendSPIRE || !s.HasSynced() {
		t.Errorf("expected backend spire and trust domain %s, got %s and %s, synced %t",
			want, got.Backend, got.SPIRE.TrustDomain, s.HasSynced())
	}
}
