// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// TestReceipts verifies TaskRuns without a signer in their pods, and those whose steps cannot sign.
func TestReceipts(t *testing.T) {
	c := open(t)
	c.enableWith(t, "receipt", "--namespace-selector", selector)
	wantNothingInjected(t, c)
	t.Run("outcomes", func(t *testing.T) { testReceiptOutcomes(t, c) })
	t.Run("a status that somebody changed", func(t *testing.T) { testForgedReceipt(t, c) })
	t.Run("a pod of before", func(t *testing.T) { testPreparedPod(t, c) })
	if out := c.kubectl(t, "tekton-sign", "enable", "oidc-sa-token", "--yes", "--namespace-selector",
		selector); out.code != 0 {
		t.Fatalf("enable: %s", out)
	}
	t.Run("steps that cannot sign", func(t *testing.T) { testReceiptsAsFallback(t, c) })
}

// receiptNamespace creates a namespace in scope, and wants its RoleBinding to give no right.
func (c *cluster) receiptNamespace(t *testing.T) string {
	t.Helper()
	ns := c.namespace(t, true)
	if subjects := c.awaitProtection(t, ns); len(subjects) > 0 {
		t.Errorf("backend receipt needs no right, and gives one to %v", subjects)
	}
	return ns
}

// awaitProtection waits for the RoleBinding of a namespace, and for the end of the second in which it was created:
// no receipt is made of an older pod. It returns the subjects.
func (c *cluster) awaitProtection(t *testing.T, ns string) (subjects []rbacv1.Subject) {
	t.Helper()
	c.eventually(t, "the protection of "+ns, func(ctx context.Context) (bool, error) {
		binding, err := c.kube.RbacV1().RoleBindings(ns).Get(ctx, manifests.TokenRequester, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		subjects = binding.Subjects
		return err == nil && time.Since(binding.CreationTimestamp.Time) > time.Second, err
	})
	return subjects
}

// wantNothingInjected wants no object of signing in pods, and no role to grant.
func wantNothingInjected(t *testing.T, c *cluster) {
	t.Helper()
	out := c.mustKubectl(t, "get", "mutatingwebhookconfigurations,clusterroles", "-A", "-o", "name")
	for _, name := range []string{manifests.InjectWebhook, manifests.TokenRequester} {
		if strings.Contains(out, name) {
			t.Errorf("backend receipt needs no %s:\n%s", name, out)
		}
	}
}

// testPreparedPod brings a namespace into scope in which a pod is running already: anyone may have created it.
func testPreparedPod(t *testing.T, c *cluster) {
	ns := c.namespaceWith(t, nil)
	tr := another(t, "results")
	tr.Spec.TaskSpec.Steps = append(tr.Spec.TaskSpec.Steps,
		pipelinev1.Step{Image: busybox, Command: []string{"sleep", "8"}})
	tr = c.watchUntil(t, c.start(t, ns, tr), "has a pod",
		func(tr *pipelinev1.TaskRun) bool { return tr.Status.PodName != "" })
	c.mustKubectl(t, "label", "namespace", ns, selector)
	c.awaitProtection(t, ns)
	before := c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
	c.verifyReceipt(t, before, outcomeCase{verdict: "INDETERMINATE"})
	after := c.finish(t, ns, another(t, "results"))
	wantCondition(t, after, "True", "TaskRunResultsVerified")
}

// receiptCases are TaskRuns with their verdicts by receipt. Nobody reports how a step ends that Tekton stops.
func receiptCases() []outcomeCase {
	return []outcomeCase{
		{fixture: "results", verdict: "VERIFIED"},
		{fixture: "no-results", verdict: "VERIFIED"},
		{fixture: "many-steps", verdict: "VERIFIED"},
		{fixture: "failing", verdict: "VERIFIED"},
		{fixture: "on-error-continue", verdict: "VERIFIED"},
		{fixture: "killed", verdict: "VERIFIED"},
		{fixture: "step-timeout", verdict: "VERIFIED"},
		{fixture: "timed-out", verdict: "INDETERMINATE", code: 2},
		{fixture: "cancelled", verdict: "INDETERMINATE", code: 2, cancel: true},
		{fixture: "retried", verdict: "VERIFIED"},
		{fixture: "retries-exhausted", verdict: "VERIFIED"},
		{fixture: "restricted", verdict: "VERIFIED"},
		{fixture: "sidecar", verdict: "VERIFIED"},
		{fixture: "invalid-json", verdict: "VERIFIED"},
	}
}

// testReceiptOutcomes runs each TaskRun with the add-on and without it: neither the outcome differs nor a byte of
// the pod.
func testReceiptOutcomes(t *testing.T, c *cluster) {
	for _, oc := range receiptCases() {
		t.Run(oc.fixture, func(t *testing.T) {
			t.Parallel()
			signed, plain := c.receiptNamespace(t), c.namespace(t, false)
			got, _ := c.sameOutcome(t, signed, plain, oc)
			without, with := podSpecs(t, c, plain), podSpecs(t, c, signed)
			if oc.code != 0 && len(without) != len(with) {
				clear(without) // Tekton deletes the pod of a run that it stops, here a moment sooner than there
				clear(with)
			}
			if diff := cmp.Diff(without, with); diff != "" {
				t.Errorf("receipts change the pod (-without +with):\n%s", diff)
			}
			if oc.code != 0 {
				c.verifyReceipt(t, got, oc)
				return
			}
			wantCondition(t, got, "True", "TaskRunResultsVerified")
			c.recorded(t, got)
			if r := c.verify(t, oc.verdict, oc.code, "taskrun/"+got.Name, "-n", signed); r.Items[0].Assurance != "receipt" {
				t.Errorf("got assurance %s, want receipt", r.Items[0].Assurance)
			}
		})
	}
}

// verifyReceipt wants the condition of a TaskRun that has no receipt to name the verdict, and verify not to say
// VERIFIED.
func (c *cluster) verifyReceipt(t *testing.T, tr *pipelinev1.TaskRun, oc outcomeCase) {
	t.Helper()
	if condition := wantCondition(t, tr, "False", "TaskRunResultsVerificationFailed"); !strings.HasPrefix(
		condition.Message, oc.verdict) {
		t.Errorf("got condition %q, want it to begin with %s", condition.Message, oc.verdict)
	}
	if out := c.kubectl(t, "tekton-sign", "verify", "taskrun/"+tr.Name, "-n", tr.Namespace); out.code == 0 {
		t.Errorf("verify: %s", out)
	}
}

// changing matches what differs between two pods of one TaskRun: random parts of names, UIDs and nodes.
var changing = regexp.MustCompile(
	`kube-api-access-[a-z0-9]{5}|"nodeName":"[^"]*"|script-[0-9]+-[a-z0-9]{5}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// podSpecs returns the specs of a namespace's pods in a form that can be compared, by name.
func podSpecs(t *testing.T, c *cluster, ns string) map[string]string {
	t.Helper()
	pods, err := c.kube.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]string{}
	for i := range pods.Items {
		for j, c := range pods.Items[i].Spec.Containers {
			if strings.HasPrefix(c.Name, "sidecar-") { // Tekton stops a sidecar by another image, sooner or later
				pods.Items[i].Spec.Containers[j].Image = "-"
			}
		}
		data, err := json.Marshal(pods.Items[i].Spec)
		if err != nil {
			t.Fatal(err)
		}
		specs[pods.Items[i].Name] = strings.ReplaceAll(changing.ReplaceAllString(string(data), "-"), ns, "-")
	}
	return specs
}

// testForgedReceipt changes statuses as somebody who may write them: the add-on's verdict follows.
func testForgedReceipt(t *testing.T, c *cluster) {
	ns := c.receiptNamespace(t)
	tr := c.recorded(t, c.finish(t, ns, another(t, "results")))
	file := c.mustKubectl(t, "get", "taskrun", tr.Name, "-n", ns, "-o", "json")
	for name, change := range map[string]string{
		"a result":     `[{"op":"replace","path":"/status/results/0/value","value":"forged"}]`,
		"an exit code": `[{"op":"replace","path":"/status/steps/0/terminated/exitCode","value":7}]`,
		"an image":     `[{"op":"replace","path":"/status/steps/0/imageID","value":"example.com/forged"}]`,
		"a step":       `[{"op":"remove","path":"/status/steps/0"}]`,
	} {
		changed := c.finish(t, ns, another(t, "results"))
		patched, err := c.tekton.TektonV1().TaskRuns(ns).Patch(t.Context(), changed.Name, types.JSONPatchType,
			[]byte(change), metav1.PatchOptions{}, "status")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantCondition(t, patched, "False", "TaskRunResultsVerificationFailed")
	}
	c.verifyInput(t, file, "VERIFIED", 0, "-f", "-")
	if out := c.kubectlWithInput(t, file, "tekton-sign", "evidence", "-f", "-"); out.code != 0 ||
		!strings.Contains(out.stdout, "Receipt: ") {
		t.Errorf("evidence: %s", out)
	}
	forged := strings.Replace(file, `"exitCode": 0`, `"exitCode": 9`, 1)
	c.verifyInput(t, forged, "FAILED", 4, "-f", "-")
	gone := c.finish(t, ns, another(t, "results"))
	if err := c.kube.CoreV1().Pods(ns).Delete(t.Context(), gone.Status.PodName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wantNotJudgedAgain(t, gone)
}

// wantNotJudgedAgain takes the verdict of a TaskRun away whose pod is gone: nothing is left to compare with.
func (c *cluster) wantNotJudgedAgain(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	patch := []byte(`{"status":{"annotations":null,"results":null}}`)
	patched, err := c.tekton.TektonV1().TaskRuns(tr.Namespace).Patch(t.Context(), tr.Name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	if condition := wantCondition(t, patched, "False", "TaskRunResultsVerificationFailed"); condition != nil &&
		!strings.Contains(condition.Message, "INDETERMINATE") && !strings.Contains(condition.Message, "FAILED") {
		t.Errorf("got condition %q for a TaskRun whose results were removed and whose pod is gone", condition.Message)
	}
}

// testReceiptsAsFallback: Tasks with so many steps that none can sign are verified by receipt, others by their
// evidence.
func testReceiptsAsFallback(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	for steps, assurance := range map[int]string{1: "payload-bound", 8: "receipt", 20: "receipt"} {
		t.Run(fmt.Sprintf("%d steps", steps), func(t *testing.T) {
			t.Parallel()
			tr := another(t, "results")
			for n := len(tr.Spec.TaskSpec.Steps); n < steps; n++ {
				tr.Spec.TaskSpec.Steps = append(tr.Spec.TaskSpec.Steps, pipelinev1.Step{Image: busybox, Command: []string{"true"}})
			}
			tr = c.finish(t, ns, tr)
			wantCondition(t, tr, "True", "TaskRunResultsVerified")
			c.recorded(t, tr)
			if r := c.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns); r.Items[0].Assurance != assurance {
				t.Errorf("got assurance %s, want %s", r.Items[0].Assurance, assurance)
			}
		})
	}
}
