// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TestNightlyPolicyEngines has policies of the cluster's owner refuse the signer.
func TestNightlyPolicyEngines(t *testing.T) {
	c := open(t)
	c.enable(t)
	for _, tc := range []struct {
		name string
		test func(*testing.T, *cluster)
	}{
		{"image volumes", testNoImageVolumes},
		{"the registry, in audit", testNotOurRegistry},
		{"the registry, in enforce", testNotOurRegistryEnforced},
		{"between two trials", testRefusedBetweenTrials},
		{"everything", testEverythingRefused},
		{"what no trial looks at", testRefusedUnlikeTrials},
		{"what no trial looks at, with or without the signer", testRefusedAnyway},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, c) })
	}
}

// testNoImageVolumes: the signer comes by init container, and everything is signed.
func testNoImageVolumes(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	lift := c.refusePods(t, ns, noImageVolumes)
	c.untilDelivered(t, ns, settings.DeliveryInit)
	for _, name := range []string{"results", "restricted"} {
		tr := c.finish(t, ns, another(t, name))
		wantSucceeded(t, tr)
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
		if got := deliveryOf(c.pod(t, ns, tr.Status.PodName)); got != "init" {
			t.Errorf("the signer came by %s", got)
		}
	}
	c.wantStatus(t, nil, 0, "delivery", "Namespace "+ns, "the signer gets there by init", "not in this namespace")
	lift()
	c.untilDelivered(t, ns, "")
	tr := c.finish(t, ns, another(t, "results"))
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
	if got := deliveryOf(c.pod(t, ns, tr.Status.PodName)); got != "image" {
		t.Errorf("the signer came by %s", got)
	}
}

// testNotOurRegistryEnforced: no pod runs without the signer, and the TaskRun names the policy.
func testNotOurRegistryEnforced(t *testing.T, c *cluster) {
	ns := c.enforced(t)
	lift := c.refusePods(t, ns, notOurRegistry)
	c.untilDelivered(t, ns, delivery.None)
	tr := c.finish(t, ns, another(t, "results"))
	succeeded := tr.Status.GetCondition("Succeeded")
	if !succeeded.IsFalse() || tr.Status.PodName != "" || !strings.Contains(succeeded.Message, "e2e-policy-"+ns) ||
		!strings.Contains(succeeded.Message, "results are enforced in its namespace") {
		t.Errorf("expected that the pod is refused and why, got %+v", succeeded)
	}
	c.wantStatus(t, nil, 4, "BROKEN", "Namespace "+ns, "no TaskRun runs there")
	lift()
	c.untilDelivered(t, ns, "")
	tr = c.finish(t, ns, another(t, "results"))
	wantSucceeded(t, tr)
	wantCondition(t, tr, "True", "TaskRunResultsVerified")
}

// testRefusedBetweenTrials: a policy comes while no keeper is there to try. The first TaskRun that it refuses has
// the namespace tried as soon as one is.
func testRefusedBetweenTrials(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	replicas := c.mustKubectl(t, "get", "-n", "tekton-sign", "deployment/tekton-sign-keeper", "-o",
		"jsonpath={.spec.replicas}")
	c.mustKubectl(t, "scale", "-n", "tekton-sign", "deployment/tekton-sign-keeper", "--replicas=0")
	t.Cleanup(func() {
		out := c.kubectlUntil(context.Background(), t, "", "scale", "-n", "tekton-sign", "deployment/tekton-sign-keeper",
			"--replicas="+replicas)
		if out.code != 0 {
			t.Errorf("bringing the keeper back: %s", out)
		}
	})
	c.eventually(t, "the keeper to be gone", func(ctx context.Context) (bool, error) {
		pods, err := c.kube.CoreV1().Pods("tekton-sign").List(ctx,
			metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=keeper"})
		return err == nil && len(pods.Items) == 0, err
	})
	c.refusePods(t, ns, noImageVolumes)
	var tr *pipelinev1.TaskRun
	c.eventually(t, "a TaskRun to be refused", func(context.Context) (bool, error) {
		tr = c.finish(t, ns, another(t, "results"))
		return tr.Status.GetCondition("Succeeded").IsFalse(), nil
	})
	if got := tr.Status.GetCondition("Succeeded").Reason; got != pipelinev1.TaskRunReasonPodCreationFailed.String() {
		t.Errorf("the TaskRun failed for another reason: %s", got)
	}
	c.eventually(t, "a trial to be asked for", func(ctx context.Context) (bool, error) {
		cm, err := c.kube.CoreV1().ConfigMaps(settings.Namespace).Get(ctx, delivery.ConfigMapName, metav1.GetOptions{})
		_, asked := cm.Data[ns+".refused"]
		return asked, err
	})
	c.mustKubectl(t, "scale", "-n", "tekton-sign", "deployment/tekton-sign-keeper", "--replicas="+replicas)
	c.untilDelivered(t, ns, settings.DeliveryInit)
	wantCondition(t, c.finish(t, ns, another(t, "results")), "True", "TaskRunResultsVerified")
}

// testRefusedUnlikeTrials: the policy lets the pod of the trial pass with the signer, and no pod of two steps. The
// first TaskRun fails; from then on they succeed unsigned, and everybody is told, until somebody enables again.
func testRefusedUnlikeTrials(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	lift := c.refusePods(t, ns, "object.spec.containers.size() < 2 || !object.spec.?volumes.orValue([]).exists(v, "+
		"v.name == 'tekton-internal-sign')")
	c.untilRefused(t, ns)
	c.untilLeftAlone(t, ns, true)
	c.wantEvent(t, ns, "SignerRefused")
	c.wantStatus(t, nil, 4, "BROKEN", "Namespace "+ns, "pods with the signer are refused: TaskRuns run there unsigned",
		"not in this namespace")
	tr := c.finish(t, ns, another(t, "results"))
	wantSucceeded(t, tr)
	pod := c.pod(t, ns, tr.Status.PodName)
	if why := pod.Annotations[signing.UnsignedAnnotation]; deliveryOf(pod) != "nothing" ||
		!strings.Contains(why, "e2e-policy-"+ns) {
		t.Errorf("the signer came by %s, and the reason is %q", deliveryOf(pod), why)
	}
	c.verify(t, "UNSIGNED", 3, "taskrun/"+tr.Name, "-n", ns)
	lift()
	c.mustKubectl(t, enableArgs("--yes")...)
	c.untilLeftAlone(t, ns, false)
	wantCondition(t, c.finish(t, ns, another(t, "results")), "True", "TaskRunResultsVerified")
}

// testRefusedAnyway: the policy refuses pods of two steps, whatever else they have. The signer is left out once,
// and not again after that did not help.
func testRefusedAnyway(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	c.refusePods(t, ns, "object.spec.containers.size() < 2")
	c.untilRefused(t, ns)
	c.untilLeftAlone(t, ns, true)
	time.Sleep(11 * time.Second) // until a TaskRun is certainly made after that
	c.untilRefused(t, ns)
	c.untilLeftAlone(t, ns, false)
	c.wantEvent(t, ns, "PodRefusedAnyway")
	c.untilRefused(t, ns)
	time.Sleep(20 * time.Second) // longer than a trial is waited for
	c.untilLeftAlone(t, ns, false)
	if out := c.status(t, nil); strings.Contains(out.stdout, "Namespace "+ns) {
		t.Errorf("status blames the namespace: %s", out)
	}
}

// untilRefused starts TaskRuns until the pod of one is refused: a policy takes its time.
func (c *cluster) untilRefused(t *testing.T, ns string) {
	t.Helper()
	c.eventually(t, "a TaskRun to be refused", func(context.Context) (bool, error) {
		tr := c.finish(t, ns, another(t, "results"))
		return tr.Status.GetCondition("Succeeded").Reason == pipelinev1.TaskRunReasonPodCreationFailed.String(), nil
	})
}

// untilLeftAlone waits until the pods of a namespace are left alone because of a refusal, or no longer.
func (c *cluster) untilLeftAlone(t *testing.T, ns string, want bool) {
	t.Helper()
	began := time.Now()
	c.eventually(t, "the namespace to be left alone, or not", func(ctx context.Context) (bool, error) {
		table, err := delivery.Read(ctx, c.kube)
		_, alone := table.Of(ns, delivery.Refusal)
		return err == nil && alone == want, err
	})
	t.Logf("left alone: %t, after %s", want, time.Since(began).Round(time.Millisecond))
	time.Sleep(time.Second) // until the replicas have seen it, too
}

// wantEvent wants an event with a reason in a namespace.
func (c *cluster) wantEvent(t *testing.T, ns, reason string) {
	t.Helper()
	c.eventually(t, "event "+reason, func(ctx context.Context) (bool, error) {
		events, err := c.kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + reason})
		return err == nil && len(events.Items) > 0, err
	})
}

// testEverythingRefused: where pods without the signer are refused, too, nothing is concluded, and the keeper
// creates none.
func testEverythingRefused(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	lift := c.refusePods(t, ns, "false")
	time.Sleep(15 * time.Second) // the trials after the change
	c.untilDelivered(t, ns, "")
	out := c.status(t, nil)
	if strings.Contains(out.stdout, ns) {
		t.Errorf("status blames the namespace: %s", out)
	}
	lift()
	_, err := c.kube.CoreV1().Pods(ns).Get(t.Context(), "tekton-sign-canary-pod", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a trial was no dry run: %v", err)
	}
	const pod = `{apiVersion: v1, kind: Pod, metadata: {name: for-good},` +
		` spec: {containers: [{name: a, image: docker.io/library/busybox:1.36}]}}`
	as := c.kubectlWithInput(t, pod, "create", "-n", ns, "-f", "-", "--as", "system:serviceaccount:tekton-sign:keeper",
		"--as-group", "system:serviceaccounts", "--as-group", "system:serviceaccounts:tekton-sign", "--as-group",
		"system:authenticated")
	if as.code == 0 || !strings.Contains(as.stderr, "creates pods as dry runs only") {
		t.Errorf("the keeper's account created a pod: %s", as)
	}
}
