// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// statusCheck is the check of the add-on's signature over the status.
const statusCheck = "status-signature"

// testSignedStatus completes a TaskRun whose status the add-on signs, and changes what no step signs.
func (s *spireSuite) testSignedStatus(t *testing.T) {
	ns := s.scope(t, false)
	tr := s.finish(t, ns, fixture(t, "results"))
	other := s.finish(t, ns, another(t, "results"))
	wantSignedStatus(t, tr)
	tr = s.recorded(t, tr)
	wantSignedStatus(t, tr)
	if r := s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns); !r.passed(statusCheck) {
		t.Error("the check of the signed status did not pass")
	}

	dir := t.TempDir()
	bundle := filepath.Join(dir, "bundle.json")
	writeFile(t, bundle, s.mustKubectl(t, "tekton-sign", "trust", "export"))
	for name, change := range map[string]func(*pipelinev1.TaskRun){
		"message": func(tr *pipelinev1.TaskRun) { tr.Status.Conditions[0].Message = "forged" },
		"task":    func(tr *pipelinev1.TaskRun) { tr.Status.TaskSpec.Description = "forged" },
		"replay":  func(tr *pipelinev1.TaskRun) { tr.Status.Annotations = other.Status.Annotations },
	} {
		bad := tr.DeepCopy()
		bad.APIVersion, bad.Kind = "tekton.dev/v1", "TaskRun"
		change(bad)
		file := filepath.Join(dir, name+".yaml")
		writeFile(t, file, describe(bad))
		r := s.verify(t, "FAILED", 4, "-f", file, "--trust-bundle", bundle)
		if failed := r.failedChecks(); !slices.Contains(failed, statusCheck) {
			t.Errorf("%s: failed checks are %v, want %s", name, failed, statusCheck)
		}
	}
	s.testEditedStatus(t, tr)
}

// testEditedStatus changes the status through the API, as an editor.
func (s *spireSuite) testEditedStatus(t *testing.T, tr *pipelinev1.TaskRun) {
	patch := []byte(`[{"op":"replace","path":"/status/conditions/0/message","value":"forged"}]`)
	patched, err := s.tekton.TektonV1().TaskRuns(tr.Namespace).Patch(t.Context(), tr.Name, types.JSONPatchType, patch,
		metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	condition := wantCondition(t, patched, "False", "TaskRunResultsVerificationFailed")
	if !strings.Contains(condition.Message, statusCheck) {
		t.Errorf("got condition %q, want %s in it", condition.Message, statusCheck)
	}
	if _, ok := patched.Status.Annotations[signing.StatusNotVerified]; !ok {
		t.Error("nothing notes that the status was changed")
	}
	r := s.verify(t, "FAILED", 4, "taskrun/"+tr.Name, "-n", tr.Namespace)
	if failed := r.failedChecks(); !slices.Contains(failed, statusCheck) {
		t.Errorf("failed checks are %v, want %s", failed, statusCheck)
	}
}

func wantSignedStatus(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	for _, name := range []string{signing.StatusHash, signing.StatusSignature, signing.StatusCertificates} {
		if tr.Status.Annotations[name] == "" {
			t.Errorf("TaskRun %s lacks the annotation %s", tr.Name, name)
		}
	}
	if !strings.HasPrefix(tr.Status.Annotations[signing.StatusHash], signing.OwnStatusForm) {
		t.Errorf("the hash is %q", tr.Status.Annotations[signing.StatusHash])
	}
}

// passed reports whether a check of the only item passed.
func (r report) passed(id string) bool {
	for _, check := range r.Items[0].Checks {
		if check.ID == id && check.Status == "pass" {
			return true
		}
	}
	return false
}

// testEndpoint reads the authorities from SPIRE's own bundle endpoint, which the ConfigMap's authorities authenticate.
func (s *spireSuite) testEndpoint(t *testing.T) {
	args := []string{"tekton-sign", "trust", "export", "--spire-bundle", s.Server.BundleEndpoint}
	if out := s.kubectl(t, args...); out.code == 0 || !strings.Contains(out.stderr, "certificate") {
		t.Errorf("with https_web: expected a refusal, got %s", out)
	}
	args = append(args, "--spire-endpoint-bundle", "configmap/spire/"+s.Server.ConfigMap)
	if out := s.mustKubectl(t, args...); !strings.Contains(out, `"trustDomain": "`+s.TrustDomain().Name()+`"`) {
		t.Errorf("with https_spiffe: got %s", out)
	}
	out := s.kubectl(t, append(args, "--spire-endpoint-id", "spiffe://"+s.TrustDomain().Name()+"/other")...)
	if out.code == 0 || !strings.Contains(out.stderr, "unexpected ID") {
		t.Errorf("with another ID: expected a refusal, got %s", out)
	}
}

// testChecks: status and preflight show what Kubernetes shows of SPIRE, and what the add-on reports.
func (s *spireSuite) testChecks(t *testing.T) {
	for _, want := range []string{
		"of statefulset/", "of daemonset/", "the add-on's SVID is spiffe://", "lets the add-on register TaskRuns",
		"agents with a valid SVID", "SPIRE's agents are of version 1.15.3",
	} {
		s.eventually(t, "status to show: "+want, func(context.Context) (bool, error) {
			return strings.Contains(s.kubectl(t, "tekton-sign", "status", "-o", "json").stdout, want), nil
		})
	}
	for _, id := range []string{"TS421", "TS422", "TS423", "TS424", "TS425", "TS426"} {
		if out := s.kubectl(t, "tekton-sign", "preflight", "spire", "--only", id); out.code != 0 {
			t.Errorf("preflight %s: %s", id, out)
		}
	}
}
