// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
)

// TestNightlyThreatsOfReceipts tries with backend receipt what TestThreats tries with signatures, as the same
// users. What is left out concerns the tokens of steps, of which there are none.
func TestNightlyThreatsOfReceipts(t *testing.T) {
	c := open(t)
	c.enableWith(t, "receipt", "--namespace-selector", selector)
	t.Run("who", func(t *testing.T) {
		t.Run("edits the namespace", func(t *testing.T) { t.Parallel(); testEditorsThreats(t, c) })
		t.Run("writes the status", func(t *testing.T) { t.Parallel(); testReceiptWriters(t, c) })
		t.Run("labels namespaces", func(t *testing.T) { t.Parallel(); testLabellersThreats(t, c) })
		t.Run("asks for tokens of pods", func(t *testing.T) { t.Parallel(); testPodTokenThreats(t, c) })
		t.Run("backdates the protection", func(t *testing.T) { t.Parallel(); testBackdatedProtection(t, c) })
		t.Run("makes a pod in advance", func(t *testing.T) { t.Parallel(); testAdvancePod(t, c) })
		t.Run("edits pods", func(t *testing.T) { t.Parallel(); testPodEditors(t, c) })
		t.Run("names another controller", func(t *testing.T) { t.Parallel(); testManagedBy(t, c) })
		t.Run("makes parts of a PipelineRun", func(t *testing.T) { t.Parallel(); testPipelineThreats(t, c) })
		t.Run("writes more than the webhook reads", func(t *testing.T) { t.Parallel(); testClaims(t, c) })
	})
	t.Run("writes the status of pods", func(t *testing.T) { testPodStatusWriter(t, c) })
}

// testReceiptWriters writes the status of TaskRuns: where results are enforced nobody may, elsewhere no false
// receipt is made.
func testReceiptWriters(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	writer, user := c.allowStatus(t, ns)
	tr, _ := c.inLastStep(t, ns)
	t.Cleanup(func() { c.cancel(t, tr) })
	writer.cannot(t, []string{policyStatus, user + " may not write the status of TaskRun " + tr.Name},
		"patch", "taskrun", tr.Name, "-n", ns, "--subresource=status", "--type=merge", "-p", `{"status":{"results":null}}`)

	audited := c.namespace(t, true)
	writer, _ = c.allowStatus(t, audited)
	for name, patch := range forgeries() {
		t.Run(name, func(t *testing.T) {
			tr := c.recorded(t, c.finish(t, audited, another(t, "results")))
			wantCondition(t, tr, "True", "TaskRunResultsVerified")
			writer.can(t, "patch", "taskrun", tr.Name, "-n", audited, "--subresource=status", "--type=json", "-p", patch)
			wantCondition(t, c.getTaskRun(t, audited, tr.Name), "False", "TaskRunResultsVerificationFailed")
			if out := c.kubectl(t, "tekton-sign", "verify", "taskrun/"+tr.Name, "-n", audited); out.code == 0 {
				t.Errorf("verify: %s", out)
			}
		})
	}
	t.Run("completes it early", func(t *testing.T) { testCompletedByHand(t, c, audited, writer) })
}

// forgeries are patches of a status, by what they change.
func forgeries() map[string]string {
	const record = `/status/annotations/tekton-sign.dev~1record`
	return map[string]string{
		"a result":     `[{"op":"replace","path":"/status/results/0/value","value":"forged"}]`,
		"an exit code": `[{"op":"replace","path":"/status/steps/0/terminated/exitCode","value":1}]`,
		"an image":     `[{"op":"replace","path":"/status/steps/0/imageID","value":"example.com/forged"}]`,
		"the pod":      `[{"op":"replace","path":"/status/podName","value":"another-pod"}]`,
		"a result, no record": `[{"op":"remove","path":"` + record +
			`"},{"op":"replace","path":"/status/results/0/value","value":"forged"}]`,
		"a result and its seal": `[{"op":"remove","path":"/status/annotations"},` +
			`{"op":"replace","path":"/status/results/0/value","value":"forged"}]`,
	}
}

// testCompletedByHand ends a TaskRun with forged results while its pod is running, and with a forged attempt.
func testCompletedByHand(t *testing.T, c *cluster, ns string, writer actor) {
	tr := another(t, "cancelled")
	tr = c.watchUntil(t, c.start(t, ns, tr), "runs its last step", func(tr *pipelinev1.TaskRun) bool {
		return len(tr.Status.Steps) == 2 && tr.Status.Steps[1].Running != nil
	})
	const conditions = `"conditions":[{"type":"Succeeded","status":"True","reason":"Succeeded",` +
		`"lastTransitionTime":"2026-01-01T00:00:00Z"},` +
		`{"type":"SignedResultsVerified","status":"True","reason":"TaskRunResultsVerified",` +
		`"lastTransitionTime":"2026-01-01T00:00:00Z"}]`
	forged := `{"status":{"completionTime":"2026-01-01T00:00:00Z","results":[{"name":"out","type":"string",` +
		`"value":"forged"}],` + conditions +
		`,"retriesStatus":[{"podName":"` + tr.Name + `-pod",` + conditions + `}]}}`
	writer.can(t, "patch", "taskrun", tr.Name, "-n", ns, "--subresource=status", "--type=merge", "-p", forged)
	got := c.getTaskRun(t, ns, tr.Name)
	wantCondition(t, got, "False", "TaskRunResultsVerificationFailed")
	for i := range got.Status.RetriesStatus {
		if got.Status.RetriesStatus[i].GetCondition(conditionType).IsTrue() {
			t.Errorf("a forged attempt is said to be verified: %s", describe(got))
		}
	}
}

// testBackdatedProtection creates the RoleBinding whose age counts, before the namespace is in scope.
func testBackdatedProtection(t *testing.T, c *cluster) {
	ns := c.namespaceWith(t, nil)
	c.administrator().cannot(t, []string{policyGrants, "its age shows since when"},
		"create", "rolebinding", "tekton-sign-token-requester", "-n", ns, "--clusterrole=view", "--user=nobody")
}

// testPodEditors changes the pods of TaskRuns as far as an editor may, where the policies are not strict: what a
// container runs, who owns the pod, and the pod itself, deleted before the add-on looks.
func testPodEditors(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	editor := c.editor(t, ns)
	tr, pod := c.inLastStep(t, ns)
	editor.cannot(t, []string{policyMarks, "the owners of a TaskRun's pod"},
		"patch", "-n", ns, "pod/"+pod.Name, "-p", `{"metadata":{"ownerReferences":null}}`, "--type=merge")
	editor.cannot(t, []string{"orbidden"}, "patch", "-n", ns, "pod/"+pod.Name, "--subresource=status", "--type=merge",
		"-p", `{"status":{"phase":"Succeeded"}}`)
	editor.can(t, "delete", "pod", pod.Name, "-n", ns, "--now", "--wait=false")
	done := c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
	if done.IsSuccessful() || done.Status.GetCondition(conditionType).IsTrue() && len(done.Status.Results) > 1 {
		t.Errorf("a TaskRun whose pod was deleted: %s", describe(done))
	}
}

// testPodStatusWriter is the one who can make a false receipt, as docs/threat-model.md has it: the kubelet is
// stopped, and somebody else reports in its place. status names who could.
func testPodStatusWriter(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	user := "reporter-of-" + ns
	c.allow(t, ns, user, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "pods/status"},
		Verbs: []string{"get", "patch"}})
	if out := c.kubectl(t, "tekton-sign", "status"); !strings.Contains(out.stdout, user) {
		t.Errorf("status does not name who can write pods/status: %s", out)
	}
	tr, pod := c.inLastStep(t, ns)
	kubelet := strconv.Itoa(pidInLab(t, testlab.Kubelet))
	if out, err := inLab(t, "kill", "-STOP", kubelet); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer func() { _, _ = inLab(t, "kill", "-CONT", kubelet) }()
	c.as(user).can(t, "patch", "pod", pod.Name, "-n", ns, "--subresource=status", "--type=merge", "-p",
		forgedReport(t, pod))
	done := c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
	wantCondition(t, done, "True", "TaskRunResultsVerified")
	if got := done.Status.Results; len(got) != 1 || got[0].Value.StringVal != "forged" {
		t.Errorf("got the results %v", got)
	}
}

// forgedReport is a patch of a pod's status: all containers have ended, and the first reports another value.
func forgedReport(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	statuses := pod.Status.ContainerStatuses
	for i := range statuses {
		ended := &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: metav1.Now(), FinishedAt: metav1.Now()}
		if statuses[i].Name == "step-quick" {
			ended.Message = `[{"key":"out","value":"forged","type":1}]`
		}
		statuses[i].State = corev1.ContainerState{Terminated: ended}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"phase": "Succeeded",
		"containerStatuses": statuses}})
	if err != nil {
		t.Fatal(err)
	}
	return string(patch)
}
