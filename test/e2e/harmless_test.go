// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// What a cluster's owner may refuse.
const (
	noImageVolumes = "!object.spec.?volumes.orValue([]).exists(v, has(v.image))"
	notOurRegistry = noImageVolumes +
		" && !object.spec.?initContainers.orValue([]).exists(c, c.image.startsWith('ghcr.io/tekton-sign/'))"
)

// TestHarmless has the two worst that a cluster can do to TaskRuns whose results are audited: its policies refuse
// the signer, and its way of delivery takes room from the termination messages. No TaskRun fails, and none loses a
// result. The nightly suite has the others.
func TestHarmless(t *testing.T) {
	c := open(t)
	c.enable(t)
	t.Run("a policy refuses the registry", func(t *testing.T) { testNotOurRegistry(t, c) })
	if out := c.kubectl(t, enableArgs("--yes", "--delivery", "init")...); out.code != 0 {
		t.Fatalf("enable: %s", out)
	}
	t.Run("one container more", func(t *testing.T) { testFullMessages(t, c, c.namespace(t, true), 1, 2, 3) })
}

// testNotOurRegistry: TaskRuns succeed unsigned, and are told why.
func testNotOurRegistry(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	lift := c.refusePods(t, ns, notOurRegistry)
	c.untilDelivered(t, ns, delivery.None)
	tr := c.finish(t, ns, another(t, "results"))
	wantSucceeded(t, tr)
	wantCondition(t, tr, "False", "TaskRunResultsVerificationFailed")
	pod := c.pod(t, ns, tr.Status.PodName)
	if why := pod.Annotations[signing.UnsignedAnnotation]; deliveryOf(pod) != "nothing" ||
		!strings.Contains(why, "e2e-policy-"+ns) {
		t.Errorf("the signer came by %s, and the reason is %q", deliveryOf(pod), why)
	}
	r := c.verify(t, "UNSIGNED", 3, "taskrun/"+tr.Name, "-n", ns)
	t.Logf("verify gives the reason %s, and %+v", r.Items[0].Reason, r.Items[0].Checks)
	c.wantStatus(t, nil, 4, "BROKEN", "Namespace "+ns, "pods with the signer are refused: TaskRuns run there unsigned",
		"not in this namespace")
	lift()
	c.untilDelivered(t, ns, "")
	wantCondition(t, c.finish(t, ns, another(t, "results")), "True", "TaskRunResultsVerified")
}

// refusePods makes a policy that refuses the pods of a namespace unless they fit the expression, and returns what
// takes it away again. It returns before the policy is in effect.
func (c *cluster) refusePods(t *testing.T, ns, expression string) (lift func()) {
	t.Helper()
	admission := c.kube.AdmissionregistrationV1()
	name, fail := "e2e-policy-"+ns, admissionv1.Fail
	_, err := admission.ValidatingAdmissionPolicies().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: expression, Message: "not in this namespace"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lift = func() {
		for _, del := range []func(context.Context, string, metav1.DeleteOptions) error{
			admission.ValidatingAdmissionPolicyBindings().Delete, admission.ValidatingAdmissionPolicies().Delete,
		} {
			if err := del(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				t.Errorf("taking the policy away: %v", err)
			}
		}
	}
	t.Cleanup(lift)
	_, err = admission.ValidatingAdmissionPolicyBindings().Create(t.Context(),
		&admissionv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
				MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
					MatchLabels: map[string]string{corev1.LabelMetadataName: ns},
				}},
			},
		}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return lift
}

// untilDelivered waits until the signer gets to the namespace in this way; an empty one: as the settings ask.
func (c *cluster) untilDelivered(t *testing.T, ns string, want settings.Delivery) {
	t.Helper()
	began := time.Now()
	c.eventually(t, "the signer to get to "+ns+" by "+string(want), func(ctx context.Context) (bool, error) {
		cm, err := c.kube.CoreV1().ConfigMaps(settings.Namespace).Get(ctx, delivery.ConfigMapName, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		e, _ := delivery.Parse(cm.Data).Of(ns, delivery.Trial)
		return e.Delivery == want, nil
	})
	t.Logf("by %q after %s", want, time.Since(began).Round(time.Millisecond))
	time.Sleep(time.Second) // until the replicas have seen it, too
}

// another returns a TaskRun of a fixture under a name that the API server makes, since namespaces have several here.
func another(t *testing.T, name string) *pipelinev1.TaskRun {
	t.Helper()
	tr := fixture(t, name)
	tr.Name, tr.GenerateName = "", name+"-"
	return tr
}
