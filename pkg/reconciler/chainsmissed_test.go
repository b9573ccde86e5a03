// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"net/http"
	"testing"
	"time"

	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// gateScope is everywhere in scope, with the gate on.
type gateScope settings.Enforcement

func (gateScope) Ready() bool         { return true }
func (gateScope) InScope(string) bool { return true }
func (g gateScope) Enforcement(string) settings.Enforcement {
	return settings.Enforcement(g)
}

func (gateScope) Settings() settings.Settings {
	s := settings.Default()
	s.Backend, s.GateChains = signing.BackendOIDCSAToken, true
	return s
}

// A write that completes what the webhook of the first write missed comes again until the leader has placed the
// hold, in both modes: it is refused before, and passes after.
func TestMissedHoldConverges(t *testing.T) {
	for _, mode := range []settings.Enforcement{settings.Audit, settings.Enforce} {
		t.Run(string(mode), func(t *testing.T) {
			missed := unheld("missed", "")
			missed.SetCreationTimestamp(metav1.Now())
			c := newGateCluster(t, TaskRuns, missed)
			handler := &admission.ChainsHandler{Scope: gateScope(mode), Now: time.Now, Log: zap.NewNop().Sugar()}
			refused := 0
			for ; refused < 200; refused++ {
				old, err := c.client.Resource(tektonResource(TaskRuns)).Namespace("ci").Get(t.Context(), "missed",
					metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				completed := old.DeepCopy()
				//nolint:forcetypeassert // as made by heldRun
				completed.Object["status"].(map[string]any)["conditions"] = []any{succeeded}
				response := handler.Admit(t.Context(), &admissionv1.AdmissionRequest{
					Namespace: "ci", Name: "missed", SubResource: "status",
					OldObject: runtime.RawExtension{Raw: encoded(t, old)}, Object: runtime.RawExtension{Raw: encoded(t, completed)},
				})
				if response.Allowed {
					if got := old.GetAnnotations()[chains.Marker]; got != "missed: held" || len(response.Warnings) > 0 {
						t.Errorf("passed with the marker %q, warnings %q", got, response.Warnings)
					}
					break
				}
				if response.Result.Code != http.StatusConflict {
					t.Fatalf("got %+v", response.Result)
				}
				time.Sleep(50 * time.Millisecond)
			}
			if refused == 0 || refused == 200 {
				t.Errorf("refused %d times", refused)
			}
		})
	}
}

func encoded(t *testing.T, o interface{ MarshalJSON() ([]byte, error) }) []byte {
	t.Helper()
	raw, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
