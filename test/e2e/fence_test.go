// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certresources "knative.dev/pkg/webhook/certificates/resources"
)

const (
	policyPodTokens = "'tekton-sign-pod-tokens'"
	policyGrants    = "'tekton-sign-grants'"
	policyWebhooks  = "'tekton-sign-webhooks'"
	policyMarks     = "'tekton-sign-taskrun-pod-marks'"
	policyChildren  = "'tekton-sign-pipeline-children'"
	policyReports   = "'tekton-sign-pipeline-status'"
	policyManagedBy = "'tekton-sign-managed-by'"
)

// testPodTokenThreats asks, as an editor, for tokens with which one would be the pod, with each level of policies.
func testPodTokenThreats(t *testing.T, c *cluster) {
	for name, ns := range map[string]string{"strict": c.enforced(t), "standard": c.namespace(t, true)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			editor := c.editor(t, ns)
			tr, pod := c.inLastStep(t, ns)
			t.Cleanup(func() { c.cancel(t, tr) })
			bound := []string{"--bound-object-kind=Pod", "--bound-object-name=" + pod.Name}
			withUID := append([]string{"--bound-object-uid=" + string(pod.UID)}, bound...)
			ask := append([]string{"create", "token", "default", "-n", ns}, withUID...)
			why := []string{policyPodTokens, "for the kubelet and for that pod itself"}
			editor.cannot(t, why, ask...)
			editor.cannot(t, why, append([]string{"create", "token", "default", "-n", ns}, bound...)...)
			editor.cannot(t, why, append(ask, "--audience=vault")...)
			impersonator := c.bearing(t, c.makeEditor(t, ns))
			impersonator.args = append(impersonator.args, "--as", "system:serviceaccount:"+ns+":default")
			impersonator.cannot(t, []string{c.ownTokenRefusal(t, ns)}, ask...) // by either policy
			editor.can(t, "create", "token", "default", "-n", ns)
			editor.can(t, "create", "token", "default", "-n", ns, "--audience=vault")
		})
	}
}

// testStolenTokenThreats acts as the accounts of the add-on itself.
func testStolenTokenThreats(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	controller, keeper := c.as("system:serviceaccount:tekton-sign:controller"),
		c.as("system:serviceaccount:tekton-sign:keeper")
	bind := func(namespace, name, role string, subject ...string) []string {
		return append([]string{"create", "rolebinding", name, "-n", namespace, "--clusterrole=" + role}, subject...)
	}
	const grant = "tekton-sign-token-requester"
	itself := "--serviceaccount=tekton-sign:keeper"
	keeper.cannot(t, []string{policyGrants, "of the name tekton-sign-token-requester only"},
		bind(ns, "mine", grant, itself)...)
	keeper.cannot(t, []string{policyGrants, "to the service accounts of the namespace itself only"},
		bind("default", grant, grant, itself)...)
	keeper.cannot(t, []string{policyGrants, "is not in the scope"},
		bind("default", grant, grant, "--group=system:serviceaccounts:default")...)
	keeper.cannot(t, []string{policyGrants, "is not in the scope"},
		bind("kube-system", grant, grant, "--group=system:serviceaccounts:kube-system")...)
	keeper.cannot(t, []string{"forbidden"}, bind(ns, grant+"-x", "cluster-admin", itself)...)
	changed := strings.Replace(c.mustKubectl(t, "get", "rolebinding", grant, "-n", ns, "-o", "json"),
		"system:serviceaccounts:"+ns, "system:authenticated", 1)
	keeper.cannotWith(t, changed, []string{policyGrants, "itself only"}, "replace", "-f", "-")
	for name, patch := range map[string]string{
		"Secrets":   `[{"op":"add","path":"/webhooks/0/rules/0/resources/-","value":"secrets"}]`,
		"elsewhere": `[{"op":"replace","path":"/webhooks/0/clientConfig/service/name","value":"evil"}]`,
		"any pod": `[{"op":"replace","path":"/webhooks/0/objectSelector","value":{}},` +
			`{"op":"remove","path":"/webhooks/0/matchConditions"}]`,
		"nothing refused": `[{"op":"replace","path":"/webhooks/1/failurePolicy","value":"Ignore"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			keeper.cannot(t, []string{policyWebhooks}, "patch", "mutatingwebhookconfiguration", "tekton-sign-inject",
				"--type=json", "-p", patch)
		})
	}
	keeper.cannotWith(t, `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingWebhookConfiguration",`+
		`"metadata":{"name":"mine"}}`,
		[]string{"orbidden"}, "create", "-f", "-")
	keeper.cannot(t, []string{policyRequesters}, "create", "token", "policy-probe", "-n", "tekton-sign")
	keeper.cannot(t, []string{"orbidden"}, "create", "token", "controller", "-n", "tekton-sign")
	keeper.cannot(t, []string{"orbidden"}, "patch", "validatingadmissionpolicybinding", "tekton-sign-token-requesters",
		"--type=merge", "-p", `{"spec":{"validationActions":["Warn"]}}`)
	keeper.cannot(t, []string{"orbidden"}, "get", "secrets", "-n", ns)

	controller.cannot(t, []string{"cannot create resource"},
		bind(ns, grant+"-x", grant, "--group=system:serviceaccounts:"+ns)...)
	controller.cannot(t, []string{"orbidden"}, "patch", "mutatingwebhookconfiguration", "tekton-sign-inject",
		"--type=merge", "-p", `{"webhooks":null}`)
	controller.cannot(t, []string{"orbidden"}, "create", "token", "default", "-n", ns)
	controller.cannot(t, []string{"tekton-sign"}, "create", "token", "controller", "-n", "tekton-sign")
	controller.cannot(t, []string{"orbidden"}, "get", "secrets", "-n", ns)
	controller.cannotWith(t, impostor(t, "mine", func(*metav1.ObjectMeta) {}), []string{"orbidden"}, "create", "-n",
		"tekton-sign", "-f", "-")
}

// testAdvancePod makes the pod of a TaskRun before Tekton does, with a result of its own, and tries to have the
// TaskRun own it afterwards.
func testAdvancePod(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	editor := c.editor(t, ns)
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"soon-pod"},` +
		`"spec":{"restartPolicy":"Never","containers":[{"name":"step-a",` +
		`"image":"docker.io/library/busybox:1.36","command":["sh","-c",` +
		`"echo '[{\"key\":\"value\",\"value\":\"forged\",\"type\":1}]' > /dev/termination-log"]}]}}`
	editor.canWith(t, pod, "create", "-n", ns, "-f", "-")
	editor.can(t, "wait", "-n", ns, "pod/soon-pod", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
	writer := c.pipelinesEditor(t, ns)
	writer.canWith(t, evilTaskRun("soon", ""), "create", "-n", ns, "-f", "-")
	tr := c.getTaskRun(t, ns, "soon")
	owner := fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"tekton.dev/v1","kind":"TaskRun","name":%q,`+
		`"uid":%q,"controller":true}]}}`, tr.Name, tr.UID)
	for _, group := range []string{"tekton.dev/v1", "tekton.dev/v1beta1", "evil.dev/v1"} {
		editor.cannot(t, []string{policyMarks, "the owners of a TaskRun's pod"}, "patch", "pod", "soon-pod", "-n", ns,
			"--type=merge",
			"-p", strings.Replace(owner, "tekton.dev/v1", group, 1))
	}
	editor.cannot(t, []string{policyMarks, "the labels tekton.dev/*"}, "label", "pod", "soon-pod", "-n", ns,
		"tekton.dev/taskRunUID="+string(tr.UID))
	// Tekton does not take what the TaskRun does not own, and makes its own pod once there is room for it.
	editor.can(t, "delete", "pod", "soon-pod", "-n", ns, "--now")
	writer.can(t, "annotate", "taskrun", "soon", "-n", ns, "look=again")
	done := c.watchUntil(t, c.getTaskRun(t, ns, "soon"), "is done", (*pipelinev1.TaskRun).IsDone)
	wantCondition(t, done, "True", "TaskRunResultsVerified")
	if got := done.Status.Results; len(got) != 1 || got[0].Value.StringVal != "evil" { // what its own step says
		t.Errorf("the TaskRun has the results %v", got)
	}
}

// testManagedBy has another controller run a TaskRun, that is nobody, and writes what it would report.
func testManagedBy(t *testing.T, c *cluster) {
	const managed = `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"managed"},` +
		`"spec":{"managedBy":"other","taskSpec":{"results":[{"name":"out"}],` +
		`"steps":[{"name":"a","image":"docker.io/library/busybox:1.36","command":["true"]}]}}}`
	const forged = `{"status":{"results":[{"name":"out","type":"string","value":"forged"}],"conditions":[` +
		`{"type":"Succeeded","status":"True","reason":"Succeeded","lastTransitionTime":"2026-01-01T00:00:00Z"},` +
		`{"type":"SignedResultsVerified","status":"True","reason":"TaskRunResultsVerified",` +
		`"lastTransitionTime":"2026-01-01T00:00:00Z"}],` +
		`"annotations":{"tekton-sign.dev/record":"x"}}}`
	enforced, audited := c.enforced(t), c.namespace(t, true)
	writer, _ := c.allowStatus(t, enforced)
	writer.cannotWith(t, managed, []string{policyManagedBy, "enable --managed-by other"}, "create", "-n", enforced, "-f",
		"-")
	writer, _ = c.allowStatus(t, audited)
	writer.canWith(t, managed, "create", "-n", audited, "-f", "-")
	writer.can(t, "patch", "taskrun", "managed", "-n", audited, "--subresource=status", "--type=merge", "-p", forged)
	got, err := c.tekton.TektonV1().TaskRuns(audited).Get(t.Context(), "managed", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status.GetCondition(conditionType) != nil || len(got.Status.Annotations) != 0 {
		t.Errorf("what nobody verified has the condition %v and the annotations %v", got.Status.GetCondition(conditionType),
			got.Status.Annotations)
	}
}

// pipelinesEditor may write everything of Tekton in a namespace, the status too.
func (c *cluster) pipelinesEditor(t *testing.T, ns string) actor {
	t.Helper()
	user := "pipelines-of-" + ns
	c.allow(t, ns, user, rbacv1.PolicyRule{APIGroups: []string{"tekton.dev"}, Resources: []string{"*"},
		Verbs: []string{"*"}})
	return c.as(user)
}

// twoTasks is a PipelineRun of a task that reports, and of one that uses the value.
func twoTasks(name string) string {
	return `{"apiVersion":"tekton.dev/v1","kind":"PipelineRun","metadata":{"name":"` + name +
		`"},"spec":{"pipelineSpec":{` +
		`"results":[{"name":"released","value":"$(tasks.build.results.value)"}],"tasks":[` +
		`{"name":"build","taskSpec":{"results":[{"name":"value"}],"steps":[{"name":"a",` +
		`"image":"docker.io/library/busybox:1.36","command":["sh","-c"],` +
		`"args":["printf good > $(results.value.path); sleep 3"]}]}},` +
		`{"name":"deploy","params":[{"name":"got","value":"$(tasks.build.results.value)"}],` +
		`"taskSpec":{"params":[{"name":"got"}],` +
		`"steps":[{"name":"a","image":"docker.io/library/busybox:1.36","command":["echo","$(params.got)"]}]}}]}}}`
}

// evilTaskRun reports another value than the task build of twoTasks would.
func evilTaskRun(name, metadata string) string {
	return `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"` + name + `"` + metadata +
		`},"spec":{"taskSpec":{"results":[{"name":"value"}],` +
		`"steps":[{"name":"a","image":"docker.io/library/busybox:1.36","command":["sh","-c"],` +
		`"args":["printf evil > $(results.value.path)"]}]}}}`
}

// testPipelineThreats gives a PipelineRun TaskRuns that are not its own.
func testPipelineThreats(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	user := c.pipelinesEditor(t, ns)
	create := []string{"create", "-n", ns, "-f", "-"}

	t.Run("labels, owners and status", func(t *testing.T) {
		user.canWith(t, twoTasks("honest"), create...)
		pr, err := c.tekton.TektonV1().PipelineRuns(ns).Get(t.Context(), "honest", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		owner := fmt.Sprintf(`,"ownerReferences":[{"apiVersion":"tekton.dev/v1","kind":"PipelineRun","name":"honest",`+
			`"uid":%q,"controller":true}]`, pr.UID)
		user.cannotWith(t, evilTaskRun("forged", `,"labels":{"tekton.dev/pipelineRun":"honest"}`),
			[]string{policyChildren, "the labels tekton.dev/pipelineRun"}, create...)
		// By policy P11, or by the webhook, which is asked first.
		user.cannotWith(t, evilTaskRun("forged", owner), []string{"tekton-sign"}, create...)
		user.cannotWith(t, strings.Replace(evilTaskRun("forged", owner), "tekton.dev/v1", "tekton.dev/v1beta1", 1),
			[]string{"tekton-sign"}, create...)
		user.cannotWith(t, evilTaskRun("forged", strings.Replace(owner, "tekton.dev", "evil.dev", 1)),
			[]string{policyChildren, "a PipelineRun is made its owner"}, create...)
		relabels := strings.Replace(twoTasks("relabels"), `"spec":{`,
			`"spec":{"taskRunSpecs":[{"pipelineTaskName":"deploy","metadata":{"labels":{"tekton.dev/pipelineTask":"build"}}}],`,
			1)
		user.cannotWith(t, relabels, []string{policyChildren, "leave them out of taskRunSpecs"}, create...)
		user.canWith(t, evilTaskRun("alone", ""), create...)
		user.cannot(t, []string{policyChildren}, "label", "taskrun", "alone", "-n", ns,
			"tekton.dev/pipelineRunUID="+string(pr.UID))
		user.cannot(t, []string{policyReports, "may not write the status of PipelineRun honest"}, "patch", "pipelinerun",
			"honest", "-n", ns,
			"--subresource=status", "--type=merge", "-p", `{"status":{"childReferences":[]}}`)
		custom := `{"apiVersion":"tekton.dev/v1beta1","kind":"CustomRun","metadata":{"name":"custom"},` +
			`"spec":{"customRef":{"apiVersion":"example.dev/v1","kind":"Wait"}}}`
		user.canWith(t, custom, create...)
		user.cannot(t, []string{policyReports, "--custom-run-controller"}, "patch", "customrun", "custom", "-n", ns,
			"--subresource=status", "--type=merge", "-p", `{"status":{"results":[{"name":"value","value":"evil"}]}}`)
		done := c.pipelineRunUntil(t, pr, "done", (*pipelinev1.PipelineRun).IsDone)
		if !done.IsSuccessful() || len(done.Status.Results) != 1 || done.Status.Results[0].Value.StringVal != "good" {
			t.Errorf("the PipelineRun has ended with %v and results %v", done.Status.Conditions, done.Status.Results)
		}
		if out := c.kubectl(t, "tekton-sign", "verify", "pipelinerun/honest", "-n", ns); out.code != 0 {
			t.Errorf("verify of an honest PipelineRun: %s", out)
		}
	})

	t.Run("the future name", func(t *testing.T) {
		user.canWith(t, evilTaskRun("taken-build", ""), create...)
		c.watchUntil(t, c.getTaskRun(t, ns, "taken-build"), "is done", (*pipelinev1.TaskRun).IsDone)
		user.canWith(t, twoTasks("taken"), create...)
		pr, err := c.tekton.TektonV1().PipelineRuns(ns).Get(t.Context(), "taken", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		done := c.pipelineRunUntil(t, pr, "done", (*pipelinev1.PipelineRun).IsDone)
		list, err := c.tekton.TektonV1().TaskRuns(ns).List(t.Context(),
			metav1.ListOptions{LabelSelector: "tekton.dev/pipelineTask=deploy,tekton.dev/pipelineRun=taken"})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 0 || done.IsSuccessful() {
			t.Errorf("a task started on a value that is not the PipelineRun's own: %d TaskRuns, %v", len(list.Items),
				done.Status.Conditions)
		}
		if out := c.kubectl(t, "tekton-sign", "verify", "pipelinerun/taken", "-n", ns); out.code == 0 ||
			strings.Contains(out.stdout, "✓ VERIFIED pipelinerun") {
			t.Errorf("verify of a PipelineRun with another's TaskRun: %s", out)
		}
	})
}

// testClaims writes, where nothing keeps a user from it, a false verdict with so much beside it that the webhook
// could run into its time limit: what is stored in the end is the add-on's own verdict.
func testClaims(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	writer, _ := c.allowStatus(t, ns)
	tr := c.finish(t, ns, fixture(t, "results"))
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	conditions := []map[string]string{
		{"type": "Succeeded", "status": "True", "reason": "Succeeded", "lastTransitionTime": "2026-01-01T00:00:00Z"},
		{"type": string(conditionType), "status": "True", "reason": "TaskRunResultsVerified",
			"lastTransitionTime": "2026-01-01T00:00:00Z"},
	}
	for i := range 16000 {
		conditions = append(conditions, map[string]string{"type": fmt.Sprint("Junk", i), "status": "True",
			"lastTransitionTime": "2026-01-01T00:00:00Z"})
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"conditions": conditions, "results": []map[string]string{{"name": "forged", "type": "string", "value": "evil"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/patch.json"
	if err := os.WriteFile(file, patch, 0o600); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for range 10 {
		writers.Go(func() {
			c.kubectl(t, append(writer.args, "patch", "taskrun", tr.Name, "-n", ns, "--subresource=status", "--type=merge",
				"--patch-file", file)...)
		})
	}
	writers.Wait()
	c.eventually(t, "the add-on's own verdict", func(ctx context.Context) (bool, error) {
		got, err := c.tekton.TektonV1().TaskRuns(ns).Get(ctx, tr.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		cond := got.Status.GetCondition(conditionType)
		return cond != nil && cond.IsFalse(), nil
	})
	c.verify(t, "FAILED", 4, "taskrun/"+tr.Name, "-n", ns)
}

// testRedirectedSigner puts another address and another authority of the API server before the signer.
func testRedirectedSigner(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	editor := c.editor(t, ns)
	editor.can(t, "create", "service", "clusterip", "kubernetes", "-n", ns, "--tcp=443:443")
	wantCondition(t, c.finish(t, ns, fixture(t, "results")), "True", "TaskRunResultsVerified")

	other := c.namespace(t, true)
	editor = c.editor(t, other)
	editor.can(t, "patch", "configmap", "kube-root-ca.crt", "-n", other, "--type=merge", "-p", foreignAuthority(t))
	tr := fixture(t, "results")
	done := c.finish(t, other, tr)
	wantSucceeded(t, done)
	if cond := wantCondition(t, done, "False", "TaskRunResultsVerificationFailed"); !strings.Contains(cond.Message,
		"UNSIGNED: api-unreachable") {
		t.Errorf("a signer that was given another authority: %s", cond.Message)
	}
}

// foreignAuthority puts another authority of the API server into the ConfigMap in which pods find it, and keeps the
// cluster from putting that right.
func foreignAuthority(t *testing.T) string {
	t.Helper()
	_, _, authority, err := certresources.CreateCerts(t.Context(), "kubernetes", "default", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(map[string]any{"immutable": true, "data": map[string]string{"ca.crt": string(authority)}})
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
