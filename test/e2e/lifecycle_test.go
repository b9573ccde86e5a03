// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// endings are what may befall a TaskRun whose first step has signed and whose second is running.
func endings() map[string]func(*testing.T, *cluster, *pipelinev1.TaskRun) {
	return map[string]func(*testing.T, *cluster, *pipelinev1.TaskRun){
		"cancelled": func(t *testing.T, c *cluster, tr *pipelinev1.TaskRun) {
			_, err := c.tekton.TektonV1().TaskRuns(tr.Namespace).Patch(t.Context(), tr.Name, types.MergePatchType,
				[]byte(`{"spec":{"status":"TaskRunCancelled"}}`), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
		},
		"pod deleted": func(t *testing.T, c *cluster, tr *pipelinev1.TaskRun) {
			if err := c.kube.CoreV1().Pods(tr.Namespace).Delete(t.Context(), tr.Status.PodName,
				metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		"pod evicted": func(t *testing.T, c *cluster, tr *pipelinev1.TaskRun) {
			err := c.kube.PolicyV1().Evictions(tr.Namespace).Evict(t.Context(), &policyv1.Eviction{
				ObjectMeta: metav1.ObjectMeta{Name: tr.Status.PodName, Namespace: tr.Namespace},
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		"timed out":                    func(*testing.T, *cluster, *pipelinev1.TaskRun) {}, // by its own timeout
		"Tekton's controller restarts": func(t *testing.T, c *cluster, _ *pipelinev1.TaskRun) { c.restartTekton(t) },
	}
}

// restartTekton deletes the pod of Tekton's controller and waits for the next one.
func (c *cluster) restartTekton(t *testing.T) {
	t.Helper()
	pods := c.kube.CoreV1().Pods("tekton-pipelines")
	selector := metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/component=controller,app.kubernetes.io/part-of=tekton-pipelines"}
	before, err := pods.List(t.Context(), selector)
	if err != nil || len(before.Items) == 0 {
		t.Fatalf("want the pod of Tekton's controller, got %d, %v", len(before.Items), err)
	}
	for _, pod := range before.Items {
		if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually(t, "another pod of Tekton's controller", func(ctx context.Context) (bool, error) {
		after, err := pods.List(ctx, selector)
		if err != nil {
			return false, err
		}
		for _, pod := range after.Items {
			if pod.UID == before.Items[0].UID || pod.Status.Phase != corev1.PodRunning {
				return false, nil
			}
		}
		return len(after.Items) > 0, nil
	})
}

// slow is a TaskRun whose second step lasts for so many seconds.
func slow(t *testing.T, seconds string) *pipelinev1.TaskRun {
	t.Helper()
	tr := fixture(t, "results")
	tr.Spec.TaskSpec.Steps[1].Script = strings.Replace(tr.Spec.TaskSpec.Steps[1].Script, "#!/bin/sh\n",
		"#!/bin/sh\nsleep "+seconds+"\n", 1)
	return tr
}

// inSecondStep starts a TaskRun and returns it when its first step has ended.
func (c *cluster) inSecondStep(t *testing.T, ns string, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	return c.watchUntil(t, c.start(t, ns, tr), "is in its second step", func(tr *pipelinev1.TaskRun) bool {
		return len(tr.Status.Steps) == 2 && tr.Status.Steps[0].Terminated != nil
	})
}

// testEndings compares each ending without signing, in audit and in enforce: neither changes how a TaskRun ends, unless
// its results are not proven; enforce hands on nothing then.
func testEndings(t *testing.T, c *cluster) {
	for name, befall := range endings() {
		t.Run(name, func(t *testing.T) {
			if name != "Tekton's controller restarts" { // which the other cases would feel
				t.Parallel()
			}
			run := func(ns string) *pipelinev1.TaskRun {
				tr := slow(t, "8")
				if name == "timed out" {
					tr = slow(t, "60")
					tr.Spec.Timeout = &metav1.Duration{Duration: 10e9}
				}
				tr = c.inSecondStep(t, ns, tr)
				befall(t, c, tr)
				return c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
			}
			stock, audit, enforce := run(c.namespace(t, false)), run(c.namespace(t, true)), run(c.enforced(t))
			want, got := outcomeOf(stock), outcomeOf(audit)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("audit changed the outcome (-stock +audit):\n%s", diff)
			}
			if want.Succeeded != outcomeOf(enforce).Succeeded {
				t.Errorf("enforce: %s; stock: %s", outcomeOf(enforce).Succeeded, want.Succeeded)
			}
			for _, tr := range []*pipelinev1.TaskRun{audit, enforce} {
				condition := tr.Status.GetCondition(conditionType)
				if condition == nil || condition.IsUnknown() {
					t.Fatalf("no verdict: %s", describe(tr))
				}
				t.Logf("%s: %s: %s", tr.Namespace, outcomeOf(tr).Succeeded, condition.Message)
			}
			if c := enforce.Status.GetCondition(conditionType); !c.IsTrue() && len(enforce.Status.Results) > 0 {
				t.Errorf("results were handed on although %s: %v", c.Message, enforce.Status.Results)
			}
		})
	}
}

// TestComingAndGoing has TaskRuns running while signing is turned on, while it is turned off, and while Tekton's
// feature flags change: none of them loses its results in audit; in enforce none is accepted that did not sign.
func TestComingAndGoing(t *testing.T) {
	c := open(t)
	unsigned := c.namespaceWith(t, map[string]string{"e2e.tekton-sign.dev/signed": "true"})
	enforced := c.namespaceWith(t, map[string]string{"e2e.tekton-sign.dev/signed": "true",
		"tekton-sign.dev/enforcement": "enforce"})
	early, earlyEnforced := c.inSecondStep(t, unsigned, slow(t, "25")), c.inSecondStep(t, enforced, slow(t, "25"))
	c.enable(t)
	early = c.watchUntil(t, early, "is done", (*pipelinev1.TaskRun).IsDone)
	wantSucceeded(t, early)
	wantResultNames(t, early, "digest", "tags", "image")
	c.verify(t, "UNSIGNED", 3, "-n", early.Namespace, "taskrun/"+early.Name)
	wantEnforced(t, c.watchUntil(t, earlyEnforced, "is done", (*pipelinev1.TaskRun).IsDone), "UNSIGNED: ")

	t.Run("feature flags", func(t *testing.T) { testFlagsFlipped(t, c) })

	late := c.inSecondStep(t, c.namespace(t, true), slow(t, "10"))
	if out := c.kubectl(t, "tekton-sign", "disable", "--yes"); out.code != 0 {
		t.Fatalf("disable: %s", out)
	}
	late = c.watchUntil(t, late, "is done", (*pipelinev1.TaskRun).IsDone)
	wantSucceeded(t, late)
	wantResultNames(t, late, "digest", "tags", "image")
	// Its first step has signed; the grant is gone before the second could.
	c.verify(t, "UNSIGNED", 3, "-n", late.Namespace, "taskrun/"+late.Name)
}

// testFlagsFlipped changes in the middle of a TaskRun how Tekton carries results and gives sidecars their end.
func testFlagsFlipped(t *testing.T, c *cluster) {
	flags := c.kube.CoreV1().ConfigMaps("tekton-pipelines")
	set := func(ctx context.Context, key, value string) {
		patch := `{"data":{"` + key + `":` + value + `}}`
		if _, err := flags.Patch(ctx, "feature-flags", types.MergePatchType, []byte(patch),
			metav1.PatchOptions{}); err != nil {
			t.Errorf("setting %s: %v", key, err)
		}
	}
	before, err := flags.Get(t.Context(), "feature-flags", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"results-from":                           `"sidecar-logs"`,
		"enable-termination-message-compression": `"true"`,
		"enforce-nonfalsifiability":              `"none"`,
		"enable-artifacts":                       `"true"`,
	} {
		t.Run(key, func(t *testing.T) {
			ns := c.namespace(t, true)
			tr := c.inSecondStep(t, ns, slow(t, "5"))
			t.Cleanup(func() {
				previous := "null"
				if old, ok := before.Data[key]; ok {
					previous = `"` + old + `"`
				}
				set(context.Background(), key, previous)
			})
			set(t.Context(), key, value)
			tr = c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
			wantSucceeded(t, tr)
			wantResultNames(t, tr, "digest", "tags", "image")
			if got := tr.Status.GetCondition(conditionType); !got.IsTrue() {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
		})
	}
}

// setFlags changes feature flags of Tekton until the end of the test.
func (c *cluster) setFlags(t *testing.T, wanted map[string]string) {
	t.Helper()
	configMaps := c.kube.CoreV1().ConfigMaps("tekton-pipelines")
	flags, err := configMaps.Get(t.Context(), "feature-flags", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(flags.Data)
	maps.Copy(flags.Data, wanted)
	if _, err := configMaps.Update(t.Context(), flags, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		flags, err := configMaps.Get(context.Background(), "feature-flags", metav1.GetOptions{})
		if err == nil {
			flags.Data = before
			_, err = configMaps.Update(context.Background(), flags, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Errorf("restoring the feature flags: %v", err)
		}
	})
}
