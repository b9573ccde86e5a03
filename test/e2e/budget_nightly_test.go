// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"fmt"
	"strings"
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
)

// TestNightlyBudget fills termination messages to the brim, with a signer that comes in each way: what arrives
// without a signer arrives with it.
func TestNightlyBudget(t *testing.T) {
	c := open(t)
	c.enable(t)
	for _, delivery := range []string{"init", "image"} {
		if out := c.kubectl(t, enableArgs("--yes", "--delivery", delivery)...); out.code != 0 {
			t.Fatalf("enable: %s", out)
		}
		t.Run(delivery, func(t *testing.T) { testFullMessages(t, c, c.namespace(t, true), 1, 2, 3, 4, 5, 6, 7, 8) })
	}
	t.Run("a container for debugging", func(t *testing.T) { testDebugContainer(t, c) })
	t.Run("evidence that cannot fit", func(t *testing.T) { testEvidenceThatCannotFit(t, c) })
}

// testDebugContainer adds a container to the pod while its step runs, which leaves each less of the termination
// messages.
func testDebugContainer(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	for name, value := range map[string]string{
		"compressed": strings.Repeat("y", 1900), // without evidence and with it
		"not":        noise(1900),               // without evidence alone
	} {
		// prepare and two steps: 4096 bytes for each, then 3072
		running := c.inSecondStep(t, ns, emitting(name, value, "; sleep 15", 2))
		c.debug(t, ns, running.Status.PodName)
		tr := c.watchUntil(t, running, "is done", (*pipelinev1.TaskRun).IsDone)
		wantReport(t, tr, value)
		if name == "not" {
			wantUnsignedSteps(t, c, tr, "too-long", 1) // the first step had ended before
			continue
		}
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
	}
}

// debug adds an ephemeral container to a pod.
func (c *cluster) debug(t *testing.T, ns, name string) {
	t.Helper()
	pods := c.kube.CoreV1().Pods(ns)
	pod, err := pods.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "look", Image: busybox, Command: []string{"true"}},
	})
	if _, err := pods.UpdateEphemeralContainers(t.Context(), name, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testEvidenceThatCannotFit has pods with more and more silent steps. Where results are enforced each verifies, or
// is refused with the reason before a step has run; where they are not, the pod says why it does not sign.
func testEvidenceThatCannotFit(t *testing.T, c *cluster) {
	enforced, audited := c.enforced(t), c.namespace(t, true)
	for steps := 7; steps <= 11; steps++ {
		spec := emitting(fmt.Sprintf("of-%d", steps), "", "", steps)
		spec.Spec.TaskSpec.Results = nil
		spec.Spec.TaskSpec.Steps[steps-1].Command = []string{"true"}

		tr := c.finish(t, enforced, spec.DeepCopy())
		succeeded := tr.Status.GetCondition(apis.ConditionSucceeded)
		refused := succeeded.IsFalse()
		if refused {
			for _, mention := range []string{"a step's evidence takes about", fmt.Sprintf("%d containers", steps+1),
				"have at most"} {
				if !strings.Contains(succeeded.Message, mention) {
					t.Errorf("%d steps: refused with %q, want it to mention %q", steps, succeeded.Message, mention)
				}
			}
			if tr.Status.PodName != "" {
				t.Errorf("%d steps: refused after there was a pod %s", steps, tr.Status.PodName)
			}
		} else {
			wantCondition(t, tr, "True", "TaskRunResultsVerified")
		}

		tr = c.finish(t, audited, spec)
		wantSucceeded(t, tr)
		said := c.pod(t, audited, tr.Status.PodName).Annotations["tekton-sign.dev/unsigned"]
		if (said != "") != refused {
			t.Errorf("%d steps: refused where results are enforced %v, but elsewhere the pod says %q", steps, refused, said)
		}
		if steps >= 9 && !refused {
			t.Errorf("%d steps: want a refusal", steps)
		}
	}
}
