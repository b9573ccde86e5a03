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

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// TestThreats tries, as the user who could and with kubectl, what docs/threat-model.md says is prevented or detected.
func TestThreats(t *testing.T) {
	c := open(t)
	c.enable(t)
	t.Run("who", func(t *testing.T) {
		t.Run("edits the namespace", func(t *testing.T) { t.Parallel(); testEditorsThreats(t, c) })
		t.Run("writes the status", func(t *testing.T) { t.Parallel(); testWritersThreats(t, c) })
		t.Run("is a step", func(t *testing.T) { t.Parallel(); testStepsThreats(t, c) })
		t.Run("reads TaskRuns", func(t *testing.T) { t.Parallel(); testReadersThreats(t, c) })
		t.Run("labels namespaces", func(t *testing.T) { t.Parallel(); testLabellersThreats(t, c) })
		t.Run("asks for tokens of pods", func(t *testing.T) { t.Parallel(); testPodTokenThreats(t, c) })
		t.Run("holds a token of the add-on", func(t *testing.T) { t.Parallel(); testStolenTokenThreats(t, c) })
		t.Run("makes a pod in advance", func(t *testing.T) { t.Parallel(); testAdvancePod(t, c) })
		t.Run("names another controller", func(t *testing.T) { t.Parallel(); testManagedBy(t, c) })
		t.Run("makes parts of a PipelineRun", func(t *testing.T) { t.Parallel(); testPipelineThreats(t, c) })
		t.Run("writes more than the webhook reads", func(t *testing.T) { t.Parallel(); testClaims(t, c) })
		t.Run("redirects the signer", func(t *testing.T) { t.Parallel(); testRedirectedSigner(t, c) })
		t.Run("edits what is installed", func(t *testing.T) { t.Parallel(); testInstallationThreats(t, c) })
	})
	t.Run("the mode changes without a restart", func(t *testing.T) { testModeChanges(t, c) })
}

// inLastStep returns a TaskRun that runs for long, and its pod.
func (c *cluster) inLastStep(t *testing.T, ns string) (*pipelinev1.TaskRun, *corev1.Pod) {
	t.Helper()
	tr := c.watchUntil(t, c.start(t, ns, fixture(t, "cancelled")), "runs its last step",
		func(tr *pipelinev1.TaskRun) bool {
			return len(tr.Status.Steps) == 2 && tr.Status.Steps[1].Running != nil
		})
	return tr, c.pod(t, ns, tr.Status.PodName)
}

const (
	anyPolicy        = "ValidatingAdmissionPolicy 'tekton-sign-"
	policyTokens     = "'tekton-sign-signing-tokens'"
	policyRequesters = "'tekton-sign-token-requesters'"
	policyPods       = "'tekton-sign-taskrun-pods'"
	policyAccess     = "'tekton-sign-taskrun-pod-access'"
	policyStatus     = "'tekton-sign-taskrun-status'"
	policyMode       = "'tekton-sign-enforcement'"
	policySettings   = "'tekton-sign-settings'"
)

// createToken are the arguments for a signing token of the pod.
func createToken(pod *corev1.Pod, audience string) []string {
	return []string{
		"create", "token", "default", "-n", pod.Namespace, "--audience=" + audience, "--duration=10m",
		"--bound-object-kind=Pod", "--bound-object-name=" + pod.Name, "--bound-object-uid=" + string(pod.UID),
	}
}

// ownTokenRefusal is what keeps an account of a namespace from a pod's token: a policy, or RBAC where no step signs.
func (c *cluster) ownTokenRefusal(t *testing.T, ns string) string {
	t.Helper()
	if c.mustKubectl(t, "get", "rolebinding", "tekton-sign-token-requester", "-n", ns, "-o",
		"jsonpath={.subjects}") == "" {
		return "cannot create resource"
	}
	return anyPolicy
}

func testEditorsThreats(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	editor := c.editor(t, ns)
	tr, pod := c.inLastStep(t, ns)

	editor.cannot(t, []string{anyPolicy}, createToken(pod, signingAudience)...) // P1 or P8, whichever is asked first
	impersonator := c.bearing(t, c.makeEditor(t, ns))
	impersonator.args = append(impersonator.args, "--as", "system:serviceaccount:"+ns+":default")
	impersonator.cannot(t, []string{c.ownTokenRefusal(t, ns)}, createToken(pod, signingAudience)...)

	editor.cannot(t, []string{policyAccess, "may not use exec on pod " + pod.Name}, "exec", "-n", ns, pod.Name, "-c",
		"step-slow", "--", "true")
	editor.cannot(t, []string{policyAccess, "may not use attach on pod"}, "attach", "-n", ns, pod.Name, "-c", "step-slow")
	editor.cannot(t, []string{policyAccess, "may not use ephemeralcontainers on pod"},
		"debug", "-n", ns, pod.Name, "--image=docker.io/library/busybox:1.36", "--target=step-slow", "--", "true")

	editor.cannot(t, []string{policyPods, "the images of a TaskRun's pod"}, "set", "image", "-n", ns, "pod/"+pod.Name,
		"step-slow=docker.io/library/busybox:evil")
	editor.cannot(t, []string{policyMarks, "the labels tekton.dev/*"}, "label", "-n", ns, "pod/"+pod.Name,
		"tekton.dev/taskRun-")
	editor.cannot(t, []string{policyMarks, "the owners of a TaskRun's pod"}, "patch", "-n", ns, "pod/"+pod.Name, "-p",
		`{"metadata":{"ownerReferences":null}}`, "--type=merge")
	editor.can(t, "label", "-n", ns, "pod/"+pod.Name, "mine=yes")

	testForeignPods(t, c, editor, pod)
	testRecreatedPod(t, c, editor, tr, pod)
}

// impostor is a pod of one container, as YAML.
func impostor(t *testing.T, name string, change func(*metav1.ObjectMeta)) string {
	t.Helper()
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
			Name: "step-quick", Image: "docker.io/library/busybox:1.36", Command: []string{"true"},
		}}},
	}
	change(&pod.ObjectMeta)
	content, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// testForeignPods makes pods that pass for those of TaskRuns, by hand and by a Job.
func testForeignPods(t *testing.T, c *cluster, editor actor, pod *corev1.Pod) {
	t.Helper()
	ns := pod.Namespace
	apply := []string{"create", "-n", ns, "-f", "-"}
	editor.cannotWith(t, impostor(t, "soon-pod", func(*metav1.ObjectMeta) {}),
		[]string{policyPods, "names that end in -pod"}, apply...)
	editor.cannotWith(t, impostor(t, "soon-pod-retry1", func(*metav1.ObjectMeta) {}),
		[]string{policyPods, "names that end in -pod"}, apply...)
	editor.cannotWith(t, impostor(t, "x", func(m *metav1.ObjectMeta) { m.Labels = pod.Labels }),
		[]string{policyMarks, "create a TaskRun"}, apply...)
	editor.cannotWith(t, impostor(t, "x", func(m *metav1.ObjectMeta) { m.OwnerReferences = pod.OwnerReferences }),
		[]string{policyMarks, "create a TaskRun"}, apply...)
	editor.canWith(t, impostor(t, "x", func(*metav1.ObjectMeta) {}), apply...)

	job := `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"imitates"},` +
		`"spec":{"template":{"metadata":{"labels":{"tekton.dev/taskRun":"cancelled"}},` +
		`"spec":{"restartPolicy":"Never","containers":[{"name":"step-quick","image":"docker.io/library/busybox:1.36",` +
		`"command":["true"]}]}}}}`
	editor.canWith(t, job, apply...)
	c.eventually(t, "the refusal of the Job's pod", func(ctx context.Context) (bool, error) {
		events, err := c.kube.CoreV1().Events(ns).List(ctx,
			metav1.ListOptions{FieldSelector: "involvedObject.name=imitates,reason=FailedCreate"})
		return err == nil && len(events.Items) > 0 && strings.Contains(events.Items[0].Message, policyMarks), err
	})
}

// testRecreatedPod deletes the pod of a running TaskRun and puts another in its place, as an editor who wins the
// race against Tekton would.
func testRecreatedPod(t *testing.T, c *cluster, editor actor, tr *pipelinev1.TaskRun, pod *corev1.Pod) {
	t.Helper()
	editor.can(t, "delete", "pod", pod.Name, "-n", pod.Namespace, "--now", "--wait=false")
	for _, labels := range []map[string]string{nil, pod.Labels} {
		content := impostor(t, pod.Name, func(m *metav1.ObjectMeta) { m.Labels = labels })
		c.eventually(t, "the refusal of another pod of the same name", func(context.Context) (bool, error) {
			out := c.kubectlWithInput(t, content, append(editor.args, "create", "-n", pod.Namespace, "-f", "-")...)
			switch {
			case out.code == 0:
				return false, fmt.Errorf("another pod took the name %s", pod.Name)
			case strings.Contains(out.stderr, policyPods), strings.Contains(out.stderr, policyMarks):
				return true, nil
			case strings.Contains(out.stderr, "AlreadyExists"): // the pod is not gone yet, or Tekton was faster
				return false, nil
			}
			return false, fmt.Errorf("unexpected refusal: %s", out)
		})
	}
	got, err := c.tekton.TektonV1().TaskRuns(tr.Namespace).Get(t.Context(), tr.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range got.Status.Results {
		if result.Value.StringVal != "x" { // what the first step reported
			t.Errorf("the TaskRun whose pod was deleted has the result %v", result)
		}
	}
	if got.IsSuccessful() {
		t.Error("the TaskRun whose pod was deleted has succeeded")
	}
}

// allowStatus lets a user write the status of TaskRuns.
func (c *cluster) allowStatus(t *testing.T, ns string) (actor, string) {
	t.Helper()
	user := "writer-of-" + ns
	c.allow(t, ns, user, rbacv1.PolicyRule{
		APIGroups: []string{"tekton.dev"}, Resources: []string{"taskruns", "taskruns/status"},
		Verbs: []string{"create", "delete", "get", "update", "patch"},
	})
	return c.as(user), user
}

func testWritersThreats(t *testing.T, c *cluster) {
	t.Run("strict", func(t *testing.T) {
		t.Parallel()
		ns := c.enforced(t)
		writer, user := c.allowStatus(t, ns)
		tr, _ := c.inLastStep(t, ns)
		t.Cleanup(func() { c.cancel(t, tr) })
		for _, status := range []string{
			`{"results":[{"name":"out","type":"string","value":"forged"}]}`,
			`{"conditions":[{"type":"SignedResultsVerified","status":"True","reason":"TaskRunResultsVerified"}]}`,
			`{"annotations":{"tekton-sign.dev/record":"forged"}}`,
		} {
			writer.cannot(t, []string{policyStatus, user + " may not write the status of TaskRun " + tr.Name},
				"patch", "taskrun", tr.Name, "-n", ns, "--subresource=status", "--type=merge", "-p", `{"status":`+status+`}`)
		}
		writer.cannot(t, []string{policyStatus}, "patch", "taskruns.v1beta1.tekton.dev", tr.Name, "-n", ns,
			"--subresource=status", "--type=merge", "-p",
			`{"status":{"taskResults":[{"name":"out","type":"string","value":"forged"}]}}`)
		done := c.finish(t, ns, fixture(t, "results"))
		wantCondition(t, done, "True", "TaskRunResultsVerified")
		writer.cannot(t, []string{"denied the request"},
			"patch", "taskrun", done.Name, "-n", ns, "--subresource=status", "--type=merge", "-p", `{"status":{"results":null}}`)
	})
	t.Run("audit", func(t *testing.T) { t.Parallel(); testWritesAreDetected(t, c) })
}

// testWritesAreDetected changes, where no policy keeps a user from it, one thing after another of a TaskRun that is
// verified.
func testWritesAreDetected(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	writer, _ := c.allowStatus(t, ns)
	tr := c.finish(t, ns, fixture(t, "results"))
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	writeAs := func(kind, patch string) *pipelinev1.TaskRun {
		t.Helper()
		writer.can(t, "patch", kind, tr.Name, "-n", ns, "--subresource=status", "--type=json", "-p", patch)
		got, err := c.tekton.TektonV1().TaskRuns(ns).Get(t.Context(), tr.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	write := func(patch string) *pipelinev1.TaskRun { t.Helper(); return writeAs("taskrun", patch) }
	steps, err := json.Marshal([]pipelinev1.StepState{tr.Status.Steps[1], tr.Status.Steps[0]})
	if err != nil {
		t.Fatal(err)
	}
	original, err := json.Marshal(tr.Status)
	if err != nil {
		t.Fatal(err)
	}
	for name, patch := range map[string]string{
		"a result":      `{"op":"replace","path":"/status/results/0/value","value":"forged"}`,
		"the exit code": `{"op":"replace","path":"/status/steps/0/terminated/exitCode","value":1}`,
		"artifacts": `{"op":"add","path":"/status/artifacts","value":{"outputs":[{"name":"image",` +
			`"values":[{"digest":{"sha256":"2c26"},"uri":"forged"}]}]}}`,
		"the order": `{"op":"replace","path":"/status/steps","value":` + string(steps) + `}`,
		"the pod":   `{"op":"replace","path":"/status/podName","value":"another-pod"}`,
	} {
		t.Run(name, func(t *testing.T) {
			wantCondition(t, write("["+patch+"]"), "False", "TaskRunResultsVerificationFailed")
			if name != "the pod" { // of which a file says nothing that could be checked
				c.verify(t, "FAILED", 4, "taskrun/"+tr.Name, "-n", ns)
			}
			byHand := write(`[{"op":"replace","path":"/status/conditions","value":[` +
				`{"type":"Succeeded","status":"True","reason":"Succeeded","lastTransitionTime":"2026-01-01T00:00:00Z"},` +
				`{"type":"SignedResultsVerified","status":"True","reason":"TaskRunResultsVerified",` +
				`"lastTransitionTime":"2026-01-01T00:00:00Z"}]}]`)
			wantCondition(t, byHand, "False", "TaskRunResultsVerificationFailed")
			write(`[{"op":"replace","path":"/status","value":` + string(original) + `}]`)
			c.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
		})
	}
	t.Run("a result, through the older version of the API", func(t *testing.T) {
		got := writeAs("taskruns.v1beta1.tekton.dev",
			`[{"op":"replace","path":"/status/taskResults/0/value","value":"forged"}]`)
		wantCondition(t, got, "False", "TaskRunResultsVerificationFailed")
		write(`[{"op":"replace","path":"/status","value":` + string(original) + `}]`)
		c.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
	})
	t.Run("the UID, by another TaskRun of the same name", func(t *testing.T) {
		writer.can(t, "delete", "taskrun", tr.Name, "-n", ns)
		again := fixture(t, "no-results")
		again.Name = tr.Name
		c.finish(t, ns, again)
		wantCondition(t, write(`[{"op":"replace","path":"/status","value":`+string(original)+`}]`), "False",
			"TaskRunResultsVerificationFailed")
		c.verify(t, "FAILED", 4, "taskrun/"+tr.Name, "-n", ns)
	})
}

// testStepsThreats acts with the service account of the pods of a namespace, which signing grants the right to
// request tokens.
func testStepsThreats(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	tr, victim := c.inLastStep(t, ns)
	t.Cleanup(func() { c.cancel(t, tr) })
	c.mustKubectl(t, "create", "serviceaccount", "deployer", "-n", ns)
	own := c.sleepingPod(t, ns)
	step := c.bearing(t, c.podToken(t, ns, own.Name, "main"))

	step.can(t, createToken(own, signingAudience)...)
	step.cannot(t, []string{anyPolicy}, createToken(victim, signingAudience)...)
	step.cannot(t, []string{policyRequesters, "with a signing audience only"}, "create", "token", "default", "-n", ns)
	step.cannot(t, []string{policyRequesters, "with a signing audience only"}, "create", "token", "deployer", "-n", ns,
		"--audience=vault")
	step.cannot(t, []string{"tekton-sign"}, append(createToken(own, signingAudience), "--audience=vault")...)
	step.cannot(t, []string{policyTokens}, createToken(own, strings.Replace(signingAudience, ":p:", ":r:", 1))...)
	step.cannot(t, []string{"Forbidden"}, "patch", "taskrun", tr.Name, "-n", ns, "--subresource=status", "--type=merge",
		"-p", `{"status":{"results":null}}`)
}

var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)

// testReadersThreats uses the tokens that everybody reads who may view TaskRuns.
func testReadersThreats(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	c.mustKubectl(t, "create", "rolebinding", "viewers", "-n", ns, "--clusterrole=view", "--user=viewer-of-"+ns)
	tr := c.finish(t, ns, fixture(t, "results"))
	seen := c.as("viewer-of-"+ns).can(t, "get", "taskrun", tr.Name, "-n", ns, "-o", "json")
	tokens := jwt.FindAllString(seen, -1)
	if len(tokens) < 2 { // of two steps, and of the record
		t.Fatalf("want the tokens of two steps in the TaskRun, got %d:\n%s", len(tokens), seen)
	}
	for _, token := range tokens {
		thief := c.bearing(t, token)
		thief.cannot(t, []string{"must be logged in"}, "get", "taskruns", "-n", ns)
		thief.cannot(t, []string{"Unauthorized"}, "create", "token", "default", "-n", ns, "--audience="+signingAudience)
	}
}
