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

// testRefusedBetweenTrials: a policy comes while no keeper is there to try. The first TaskRun that it refuses has the namespace tried as
// soon as one is.
func testRefusedBetweenTrials(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	replicas := c.mustKubectl(t, "get", "-n", "tekton-sign", "deployment/tekton-sign-keeper", "-o", "jsonpath={.spec.replicas}")
	c.mustKubectl(t, "scale", "-n", "tekton-sign", "deployment/tekton-sign-keeper", "--replicas=0")
	t.Cleanup(func() {
		out := c.kubectlUntil(context.Background(), t, "", "scale", "-n", "tekton-sign", "deployment/tekton-sign-keeper", "--replicas="+replicas)
		if out.code != 0 {
			t.Errorf("bringing the keeper back: %s", out)
		}
	})
	c.eventually(t, "the keeper to be gone", func(ctx context.Context) (bool, error) {
		pods, err := c.kube.CoreV1().Pods("tekton-sign").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=keeper"})
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

// testEverythingRefused: where pods without the signer are refused, too, nothing is concluded, and the keeper creates none.
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
	const pod = `{apiVersion: v1, kind: Pod, metadata: {name: for-good}, spec: {containers: [{name: a, image: docker.io/library/busybox:1.36}]}}`
	as := c.kubectlWithInput(t, pod, "create", "-n", ns, "-f", "-", "--as", "system:serviceaccount:tekton-sign:keeper",
		"--as-group", "system:serviceaccounts", "--as-group", "system:serviceaccounts:tekton-sign", "--as-group", "system:authenticated")
	if as.code == 0 || !strings.Contains(as.stderr, "creates pods as dry runs only") {
		t.Errorf("the keeper's account created a pod: %s", as)
	}
}
