// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// tektonsSwitch turns Tekton's own signer on: "spire" in Tekton's ConfigMap feature-flags.
const tektonsSwitch = "enforce-nonfalsifiability"

// TestNightlySPIRETektonSigner verifies what the stock release's own signer signs, without the add-on and with it, and
// has both signers on at a time.
func TestNightlySPIRETektonSigner(t *testing.T) {
	s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
	t.Run("refused while Tekton's signer is off", s.testTektonOff)
	s.switchTekton(t, "spire")
	t.Run("the plugin alone", s.testPluginAlone)
	on := s.featureFlags(t)
	t.Run("with the add-on", func(t *testing.T) {
		s.enableSPIRE(t, "--signer", "tekton", "--minimum-format", "v1")
		t.Run("audited", func(t *testing.T) { s.testTektonSigns(t, s.scope(t, false)) })
		t.Run("enforced", func(t *testing.T) { s.testTektonSigns(t, s.scope(t, true)) })
		t.Run("tampered status", s.testForged)
		t.Run("both on", s.testBothSigners)
		s.wantNoEntries(t)
	})
	if diff := cmp.Diff(on, s.featureFlags(t)); diff != "" {
		t.Errorf("enable and disable changed Tekton's switches (-before +after):\n%s", diff)
	}
}

func (s *spireSuite) featureFlags(t *testing.T) map[string]string {
	t.Helper()
	cm, err := s.kube.CoreV1().ConfigMaps("tekton-pipelines").Get(t.Context(), "feature-flags", metav1.GetOptions{})
	must(t, err)
	return cm.Data
}

// switchTekton turns Tekton's own signer on or off, until the test ends.
func (s *spireSuite) switchTekton(t *testing.T, value string) {
	t.Helper()
	replays := &replaySuite{cluster: s.cluster, namespace: s.namespace(t, false)}
	replays.setFeatures(t, map[string]string{tektonsSwitch: value})
}

// testTektonOff wants a refusal with the command that turns Tekton's signer on.
func (s *spireSuite) testTektonOff(t *testing.T) {
	args := append([]string{"tekton-sign", "enable", "--yes"}, spireArgs("--signer", "tekton")...)
	out := s.kubectl(t, args...)
	const command = `kubectl patch configmap -n tekton-pipelines feature-flags --type merge -p ` +
		`'{"data":{"enforce-nonfalsifiability":"spire"}}'`
	if out.code != 1 || !strings.Contains(out.stderr, command) || !strings.Contains(out.stderr, "nothing was changed") {
		t.Errorf("expected a refusal with %s, got %s", command, out)
	}
	out = s.kubectl(t, append(args, "--enforcement", "enforce")...)
	if out.code != 1 || !strings.Contains(out.stderr, "enable --minimum-format v1") {
		t.Errorf("expected a refusal that names the flag, got %s", out)
	}
}

// testPluginAlone verifies on a cluster where only Tekton signs: an operator has registered the TaskRun.
func (s *spireSuite) testPluginAlone(t *testing.T) {
	ns := s.namespace(t, false)
	s.CreateEntry(t, spire.Entry{
		SPIFFEID: s.ID("/ns/" + ns + "/taskrun/results"), Selectors: []string{"k8s:ns:" + ns, "k8s:sa:default"},
	})
	tr := s.finish(t, ns, fixture(t, "results"))
	wantSucceeded(t, tr)
	args := []string{"taskrun/" + tr.Name, "-n", ns}
	s.verify(t, "INDETERMINATE", 2, args...)
	authorities := []string{"--spire-bundle", "configmap/spire/spire-bundle"}
	wantLegacy(t, s.verify(t, "VERIFIED", 0, append(args, authorities...)...))
	s.verify(t, "FAILED", 4, append(args, append(authorities, "--minimum-format", "v2")...)...)
	bundle := filepath.Join(t.TempDir(), "bundle.json")
	writeFile(t, bundle, s.mustKubectl(t, append([]string{"tekton-sign", "trust", "export"}, authorities...)...))
	s.wantTamperingsFail(t, tr, bundle)
}

func wantLegacy(t *testing.T, r report) {
	t.Helper()
	if got := r.Items[0].Assurance; got != "legacy" {
		t.Errorf("assurance is %q, want legacy", got)
	}
}

// wantTamperingsFail wants copies that were tampered with to fail, as far as format v1 signs what was changed.
func (s *spireSuite) wantTamperingsFail(t *testing.T, tr *pipelinev1.TaskRun, bundle string) {
	t.Helper()
	unsigned := []string{"the UID changed", "another exit code", "the token of another cluster"}
	for _, tc := range tamperings() {
		if slices.Contains(unsigned, tc.name) {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			bad := tr.DeepCopy()
			bad.APIVersion, bad.Kind = "tekton.dev/v1", "TaskRun"
			tc.tamper(t, bad)
			file := filepath.Join(t.TempDir(), "taskrun.yaml")
			writeFile(t, file, describe(bad))
			s.verify(t, "FAILED", 4, "-f", file, "--trust-bundle", bundle)
		})
	}
}

// testTektonSigns runs a TaskRun that Tekton's own signer signs: the add-on registers it, adds nothing to its pod, and
// verifies and records it.
func (s *spireSuite) testTektonSigns(t *testing.T, ns string) {
	tr := s.finish(t, ns, another(t, "results"))
	wantSucceeded(t, tr)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	wantResultNames(t, tr, "digest", "tags", "image")
	s.wantTektonsPod(t, tr, "")
	wantLegacy(t, s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns))
	s.recorded(t, tr)
	must(t, s.kube.CoreV1().Pods(ns).Delete(t.Context(), tr.Status.PodName, metav1.DeleteOptions{}))
	wantLegacy(t, s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns))
	bundle := filepath.Join(t.TempDir(), "bundle.json")
	writeFile(t, bundle, s.mustKubectl(t, "tekton-sign", "trust", "export"))
	s.wantTamperingsFail(t, s.now(t, tr), bundle)
}

// wantTektonsPod wants a pod with Tekton's own signer alone. Its annotation has the reason why the add-on's is not
// there, empty if that was asked for.
func (s *spireSuite) wantTektonsPod(t *testing.T, tr *pipelinev1.TaskRun, reason string) {
	t.Helper()
	pod := s.pod(t, tr.Namespace, tr.Status.PodName)
	for _, container := range pod.Spec.Containers {
		if !slices.Equal(container.Command, []string{"/tekton/bin/entrypoint"}) ||
			!slices.Contains(container.Args, "-enable_spire") {
			t.Errorf("container %s starts %v %v", container.Name, container.Command, container.Args)
		}
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == "tekton-internal-sign" {
			t.Errorf("pod %s has the signer's volume", pod.Name)
		}
	}
	got := pod.Annotations[signing.UnsignedAnnotation]
	if (got == "") != (reason == "") || !strings.Contains(got, reason) {
		t.Errorf("the annotation of pod %s is %q, want %q", pod.Name, got, reason)
	}
}

// testBothSigners turns the add-on's signer on beside Tekton's, and Tekton's off and on while TaskRuns run: each has
// evidence of one signer, and verifies.
func (s *spireSuite) testBothSigners(t *testing.T) {
	enable := func(more ...string) {
		s.mustKubectl(t, append([]string{"tekton-sign", "enable", "--yes"}, spireArgs(more...)...)...)
		time.Sleep(5 * time.Second) // until the add-on goes by the settings
	}
	enable("--minimum-format", "v1")
	audit, enforce := s.scope(t, false), s.scope(t, true)
	const reason = "Tekton's own signer is on (enforce-nonfalsifiability in ConfigMap feature-flags), " +
		"and so is the add-on's"
	for _, ns := range []string{audit, enforce} {
		tr := s.finish(t, ns, another(t, "results"))
		s.wantOneEvidence(t, tr, "legacy")
		s.wantTektonsPod(t, tr, reason)
	}
	s.wantStatusLine(t, "tekton-signer", "pods are left to Tekton's signer, which signs in format v1")
	var running []*pipelinev1.TaskRun
	start := func() { running = append(running, s.start(t, audit, another(t, "results"))) }
	for _, value := range []string{"none", "spire"} {
		start()
		s.switchTekton(t, value)
		start()
	}
	by := map[string]int{}
	for _, tr := range running {
		tr = s.watchUntil(t, s.now(t, tr), "is done", (*pipelinev1.TaskRun).IsDone)
		by[s.wantOneEvidence(t, tr, "")]++
	}
	if by["legacy"] == 0 || by["workload-identity"] == 0 {
		t.Errorf("TaskRuns by assurance: expected some of each, got %v", by)
	}
	out := s.kubectl(t, append([]string{"tekton-sign", "enable", "--yes"}, spireArgs("--minimum-format", "v2")...)...)
	if out.code != 1 || !strings.Contains(out.stderr, "does not count") {
		t.Errorf("expected a refusal of format v2 alone, got %s", out)
	}
	s.wantNotCounted(t, audit, enforce)
}

// wantOneEvidence wants a verified TaskRun in which one signer alone has signed. It returns the assurance.
func (s *spireSuite) wantOneEvidence(t *testing.T, tr *pipelinev1.TaskRun, assurance string) string {
	t.Helper()
	wantSucceeded(t, tr)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	got := s.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", tr.Namespace).Items[0].Assurance
	if assurance != "" && got != assurance {
		t.Errorf("TaskRun %s: assurance is %q, want %q", tr.Name, got, assurance)
	}
	for _, c := range s.pod(t, tr.Namespace, tr.Status.PodName).Status.ContainerStatuses {
		message := c.State.Terminated.Message
		if n := strings.Count(message, `"RESULT_MANIFEST"`); n != 1 || !strings.Contains(message, `"SVID"`) {
			t.Errorf("container %s has %d manifests: %s", c.Name, n, message)
		}
	}
	return got
}

// wantNotCounted writes the settings that enable refuses: format v1 does not count any more.
func (s *spireSuite) wantNotCounted(t *testing.T, audit, enforce string) {
	t.Helper()
	s.mustKubectl(t, "patch", "configmap", "config-signing", "-n", "tekton-pipelines", "--type", "merge", "-p",
		`{"data":{"minimum-format":"v2"}}`)
	time.Sleep(5 * time.Second)
	tr := s.finish(t, audit, another(t, "results"))
	wantSucceeded(t, tr)
	wantCondition(t, tr, "False", "TaskRunResultsVerificationFailed")
	s.wantTektonsPod(t, tr, "its format v1 does not count here")
	s.wantStatusLine(t, "tekton-signer", "does not count")
	refused := s.finish(t, enforce, another(t, "results"))
	if got := refused.Status.GetCondition("Succeeded"); !got.IsFalse() ||
		!strings.Contains(got.Message, "its format v1 does not count here") {
		t.Errorf("TaskRun %s: Succeeded is %s: %s", refused.Name, got.Status, got.Message)
	}
}

// wantStatusLine wants the report of status to name a check and a text.
func (s *spireSuite) wantStatusLine(t *testing.T, check, text string) {
	t.Helper()
	out := s.kubectl(t, "tekton-sign", "status", "-o", "json")
	if !strings.Contains(out.stdout, `"`+check+`"`) || !strings.Contains(out.stdout, text) {
		t.Errorf("expected status to say %q in check %s, got %s", text, check, out)
	}
}
