// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testVerify verifies one TaskRun in every way, then copies of it that were tampered with.
func testVerify(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	tr := c.finish(t, ns, fixture(t, "results"))
	wantCondition(t, tr, "True", "TaskRunResultsVerified")

	dir := t.TempDir()
	bundle := filepath.Join(dir, "bundle.json")
	exported := c.mustKubectl(t, "tekton-sign", "trust", "export")
	writeFile(t, bundle, exported)
	c.recorded(t, tr)
	file := filepath.Join(dir, "taskrun.yaml")
	writeFile(t, file, c.mustKubectl(t, "get", "taskrun", tr.Name, "-n", ns, "-o", "yaml"))

	t.Run("live", func(t *testing.T) {
		r := c.verify(t, "VERIFIED", 0, "taskrun/"+tr.Name, "-n", ns)
		if got := r.Items[0].Assurance; got != "payload-bound" {
			t.Errorf("assurance is %q, want payload-bound", got)
		}
		c.verify(t, "VERIFIED", 0, "tr/"+tr.Name, "-n", ns)
	})
	t.Run("file with live keys", func(t *testing.T) { c.verify(t, "VERIFIED", 0, "-f", file) })
	t.Run("offline", func(t *testing.T) { c.verify(t, "VERIFIED", 0, "-f", file, "--trust-bundle", bundle) })
	t.Run("standard input", func(t *testing.T) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c.verifyInput(t, string(data), "VERIFIED", 0, "-f", "-", "--trust-bundle", bundle)
	})
	t.Run("table", func(t *testing.T) {
		out := c.kubectl(t, "tekton-sign", "verify", "taskrun/"+tr.Name, "-n", ns)
		if out.code != 0 || !strings.Contains(out.stdout, "VERIFIED") {
			t.Errorf("want VERIFIED: %s", out)
		}
		if strings.Contains(out.stdout, "\x1b") {
			t.Errorf("no terminal, yet there are escape sequences: %q", out.stdout)
		}
	})
	for _, tc := range tamperings() {
		t.Run(tc.name, func(t *testing.T) {
			bad := tr.DeepCopy()
			bad.APIVersion, bad.Kind = "tekton.dev/v1", "TaskRun"
			tc.tamper(t, bad)
			file := filepath.Join(dir, strings.ReplaceAll(tc.name, " ", "-")+".yaml")
			writeFile(t, file, describe(bad))
			r := c.verify(t, "FAILED", 4, "-f", file, "--trust-bundle", bundle)
			failed := r.failedChecks()
			if !slices.Contains(failed, tc.check) {
				t.Errorf("failed checks are %v, want %s", failed, tc.check)
			}
			for _, check := range r.Items[0].Checks {
				if check.Status == "fail" && (check.Expected == "" || check.Got == "") {
					t.Errorf("check %s failed without expected and got: %+v", check.ID, check)
				}
			}
			if tc.result != "" && !slices.Contains(r.failedResults(), tc.result) {
				t.Errorf("failed results are %v, want %q among them", r.failedResults(), tc.result)
			}
		})
	}
}

type tampering struct {
	name   string
	check  string
	result string
	tamper func(*testing.T, *pipelinev1.TaskRun)
}

func tamperings() []tampering {
	return []tampering{
		{name: "one digest byte changed", check: "results", result: "digest",
			tamper: func(t *testing.T, tr *pipelinev1.TaskRun) {
				r := resultOf(t, tr, "digest")
				r.Value.StringVal = strings.Replace(r.Value.StringVal, "2c26", "2c27", 1)
			}},
		{name: "one digest byte changed in status and message", check: "payload",
			tamper: func(t *testing.T, tr *pipelinev1.TaskRun) {
				r := resultOf(t, tr, "digest")
				r.Value.StringVal = strings.Replace(r.Value.StringVal, "2c26", "2c27", 1)
				message := &tr.Status.Steps[0].Terminated.Message
				changed := strings.Replace(*message, "sha256:2c26", "sha256:2c27", 1)
				if changed == *message {
					t.Fatalf("the message does not hold the digest: %s", *message)
				}
				*message = changed
			}},
		{name: "two results swapped", check: "results", result: "tags", tamper: func(t *testing.T, tr *pipelinev1.TaskRun) {
			a, b := resultOf(t, tr, "digest"), resultOf(t, tr, "tags")
			a.Value, b.Value = b.Value, a.Value
			a.Type, b.Type = b.Type, a.Type
		}},
		{name: "a result added", check: "results", result: "extra", tamper: func(_ *testing.T, tr *pipelinev1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results, pipelinev1.TaskRunResult{
				Name: "extra", Type: pipelinev1.ResultsTypeString, Value: *pipelinev1.NewStructuredValues("evil"),
			})
		}},
		{name: "a result removed", check: "results", result: "image", tamper: func(_ *testing.T, tr *pipelinev1.TaskRun) {
			tr.Status.Results = slices.DeleteFunc(tr.Status.Results,
				func(r pipelinev1.TaskRunResult) bool { return r.Name == "image" })
		}},
		{name: "the UID changed", check: "taskrun-uid", tamper: func(_ *testing.T, tr *pipelinev1.TaskRun) {
			tr.UID = "00000000-0000-4000-8000-000000000000"
		}},
		{name: "another name", check: "payload", tamper: func(_ *testing.T, tr *pipelinev1.TaskRun) {
			tr.Name = "other"
		}},
		{name: "another exit code", check: "payload", tamper: func(_ *testing.T, tr *pipelinev1.TaskRun) {
			tr.Status.Steps[0].Terminated.ExitCode = 1
		}},
		{name: "evidence of a step removed", check: "coverage", tamper: func(_ *testing.T, tr *pipelinev1.TaskRun) {
			tr.Status.Steps[1].Terminated.Message = ""
		}},
		{name: "the token of another cluster", check: "key", tamper: func(t *testing.T, tr *pipelinev1.TaskRun) {
			for i := range tr.Status.Steps {
				message := &tr.Status.Steps[i].Terminated.Message
				payload := strings.Split(*message, ".")
				if len(payload) < 3 {
					t.Fatalf("no token in the message: %s", *message)
				}
				claims, err := base64.RawURLEncoding.DecodeString(payload[1])
				if err != nil {
					t.Fatal(err)
				}
				other := strings.Replace(string(claims), "kubernetes.default", "kubernetes.defbult", 1)
				*message = strings.Replace(*message, payload[1], base64.RawURLEncoding.EncodeToString([]byte(other)), 1)
			}
		}},
	}
}

func resultOf(t *testing.T, tr *pipelinev1.TaskRun, name string) *pipelinev1.TaskRunResult {
	t.Helper()
	for i := range tr.Status.Results {
		if tr.Status.Results[i].Name == name {
			return &tr.Status.Results[i]
		}
	}
	t.Fatalf("TaskRun %s has no result %s", tr.Name, name)
	return nil
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// testVerifyErrors asks for what cannot be verified and wants one line with the next step, and the right exit code.
func testVerifyErrors(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	dir := t.TempDir()
	empty, garbage := filepath.Join(dir, "empty.yaml"), filepath.Join(dir, "garbage.yaml")
	writeFile(t, empty, "")
	writeFile(t, garbage, "\x00\x01{{{{")
	verify := func(args ...string) []string { return append([]string{"tekton-sign", "verify"}, args...) }

	t.Run("missing TaskRun", func(t *testing.T) {
		wantFailure(t, c.kubectl(t, verify("taskrun/absent", "-n", ns)...), 2, "absent", ns, "not found")
	})
	t.Run("no TaskRun", func(t *testing.T) {
		wantFailure(t, c.kubectl(t, verify("configmap/kube-root-ca.crt", "-n", ns)...), 1, "ConfigMap", "taskrun/")
	})
	t.Run("empty file", func(t *testing.T) { wantFailure(t, c.kubectl(t, verify("-f", empty)...), 1, "empty") })
	t.Run("garbage", func(t *testing.T) { wantFailure(t, c.kubectl(t, verify("-f", garbage)...), 1, "garbage.yaml") })
	t.Run("no such file", func(t *testing.T) {
		wantFailure(t, c.kubectl(t, verify("-f", filepath.Join(dir, "none"))...), 1, "none")
	})
	t.Run("nothing asked", func(t *testing.T) { wantFailure(t, c.kubectl(t, verify()...), 1, "taskrun/") })
	t.Run("no permission", func(t *testing.T) {
		wantFailure(t, c.kubectl(t, verify("taskrun/absent", "-n", ns, "--as", "nobody")...), 2, "not allowed to get",
			"kube-system")
	})
	t.Run("unreachable cluster", func(t *testing.T) {
		out := c.kubectl(t, verify("taskrun/x", "-n", ns, "--server", "https://127.0.0.1:1")...)
		wantFailure(t, out, 2, "127.0.0.1:1")
	})
	t.Run("running", func(t *testing.T) {
		tr := c.watchUntil(t, c.start(t, ns, fixture(t, "cancelled")), "runs", func(tr *pipelinev1.TaskRun) bool {
			return len(tr.Status.Steps) == 2 && tr.Status.Steps[1].Running != nil
		})
		r := c.verify(t, "INDETERMINATE", 2, "taskrun/"+tr.Name, "-n", ns)
		if !strings.Contains(r.Items[0].Reason, "running") {
			t.Errorf("the reason is %q, want it to say that the TaskRun is running", r.Items[0].Reason)
		}
		c.cancel(t, tr)
	})
}

// testTamperedStatus lets a user who may update taskruns/status change a result of a completed TaskRun.
func testTamperedStatus(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	tr := c.finish(t, ns, fixture(t, "results"))
	wantCondition(t, tr, "True", "TaskRunResultsVerified")

	const user = "status-writer"
	c.allow(t, ns, user, rbacv1.PolicyRule{
		APIGroups: []string{"tekton.dev"}, Resources: []string{"taskruns", "taskruns/status"},
		Verbs: []string{"get", "update", "patch"},
	})
	patch := `[{"op":"test","path":"/status/results/0/name","value":"` + tr.Status.Results[0].Name + `"},` +
		`{"op":"replace","path":"/status/results/0/value","value":"sha256:evil"}]`
	c.mustKubectl(t, "patch", "taskrun", tr.Name, "-n", ns, "--as", user, "--subresource=status", "--type=json", "-p",
		patch)

	got, err := c.tekton.TektonV1().TaskRuns(ns).Get(t.Context(), tr.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	condition := wantCondition(t, got, "False", "TaskRunResultsVerificationFailed")
	if !strings.Contains(condition.Message, tr.Status.Results[0].Name) {
		t.Errorf("the condition's message %q does not name the result %q", condition.Message, tr.Status.Results[0].Name)
	}
	if r := c.verify(t, "FAILED", 4, "taskrun/"+tr.Name, "-n", ns); !slices.Contains(r.failedChecks(), "results") {
		t.Errorf("failed checks are %v, want results", r.failedChecks())
	}

	t.Run("and sets the condition by hand", func(t *testing.T) {
		for i, condition := range got.Status.Conditions {
			if condition.Type == conditionType {
				patch := `[{"op":"replace","path":"/status/conditions/` + string(rune('0'+i)) + `/status","value":"True"},` +
					`{"op":"replace","path":"/status/conditions/` + string(rune('0'+i)) + `/reason","value":"TaskRunResultsVerified"}]`
				c.mustKubectl(t, "patch", "taskrun", tr.Name, "-n", ns, "--as", user, "--subresource=status", "--type=json", "-p",
					patch)
			}
		}
		again, err := c.tekton.TektonV1().TaskRuns(ns).Get(t.Context(), tr.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantCondition(t, again, "False", "TaskRunResultsVerificationFailed")
	})
}

// testReplacedPod deletes the pod of a running TaskRun and puts another of the same name in its place, which claims
// a result. Stock Tekton reads that one, whoever owns it.
func testReplacedPod(t *testing.T, c *cluster) {
	for _, tc := range []struct{ name, kind string }{
		{name: "by a pod that nobody owns"},
		// any kind but TaskRun, which policy P10 refuses
		{name: "by a pod whose owner has the TaskRun's UID and is none", kind: "Thing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := c.namespace(t, true)
			tr := fixture(t, "cancelled")
			tr.Name = "replaced"
			tr = c.watchUntil(t, c.start(t, ns, tr), "runs its last step", func(tr *pipelinev1.TaskRun) bool {
				return len(tr.Status.Steps) == 2 && tr.Status.Steps[1].Running != nil
			})
			c.replacePod(t, ns, tr.Status.PodName, tc.kind)
			c.mustKubectl(t, "annotate", "taskrun", tr.Name, "-n", ns, "e2e=look-again") // Tekton watches owned pods only
			done := c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
			wantSucceeded(t, done)
			if got := resultOf(t, done, "out").Value.StringVal; got != "forged" {
				t.Fatalf("Tekton did not take the forged result, so this test shows nothing: got %q", got)
			}
			condition := wantCondition(t, done, "False", "TaskRunResultsVerificationFailed")
			if !strings.Contains(condition.Message, "FAILED: pod") {
				t.Errorf("the condition's message %q does not name the pod", condition.Message)
			}
		})
	}
}

// replacePod deletes a pod at once and creates another of the same name that claims a result, and waits until it
// has ended. Its owner is of this kind, if any. Tekton sees pods with one label only, which everybody may set.
func (c *cluster) replacePod(t *testing.T, ns, name, kind string) {
	t.Helper()
	original := c.pod(t, ns, name)
	impostor := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns,
			Labels: map[string]string{"app.kubernetes.io/managed-by": "tekton-pipelines"}},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever},
	}
	if kind != "" {
		owner := original.OwnerReferences[0]
		owner.APIVersion, owner.Kind = "nowhere.dev/v1", kind
		impostor.OwnerReferences = []metav1.OwnerReference{owner}
	}
	for _, container := range []string{"step-quick", "step-slow"} {
		impostor.Spec.Containers = append(impostor.Spec.Containers, corev1.Container{
			Name: container, Image: "docker.io/library/busybox:1.36",
			Command: []string{"sh", "-c", `echo '[{"key":"out","value":"forged","type":1}]' > /dev/termination-log`},
		})
	}
	now := int64(0)
	pods := c.kube.CoreV1().Pods(ns)
	// Tekton makes a new pod when its own is gone: this is a race, run until the impostor wins it.
	c.eventually(t, "the impostor to take the name", func(ctx context.Context) (bool, error) {
		err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		_, err = pods.Create(ctx, impostor, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return false, nil
		}
		return err == nil, err
	})
	c.eventually(t, "the impostor to end", func(ctx context.Context) (bool, error) {
		pod, err := c.kube.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		return err == nil && pod.Status.Phase == corev1.PodSucceeded, err
	})
}

// allow grants a user something in a namespace.
func (c *cluster) allow(t *testing.T, ns, user string, rule rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: user, Namespace: ns}, Rules: []rbacv1.PolicyRule{rule}}
	if _, err := c.kube.RbacV1().Roles(ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user, Namespace: ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}
	if _, err := c.kube.RbacV1().RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	resource, subresource, _ := strings.Cut(rule.Resources[0], "/")
	c.untilAllowed(t, user, &authorizationv1.ResourceAttributes{
		Namespace: ns, Group: rule.APIGroups[0], Verb: rule.Verbs[0], Resource: resource, Subresource: subresource,
	})
}

// untilAllowed waits until the API server knows a new permission.
func (c *cluster) untilAllowed(t *testing.T, user string, what *authorizationv1.ResourceAttributes) {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: what},
	}
	c.eventually(t, fmt.Sprintf("%s to be allowed to %s %s", user, what.Verb, what.Resource),
		func(ctx context.Context) (bool, error) {
			answer, err := c.kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed, err
		})
}
