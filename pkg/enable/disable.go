// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// removalOrder lists the kinds that disable removes. First the webhooks, so that nothing calls the add-on any more; then
// the add-on, which would put grants back; the grants; and only then the policies that confine them. The namespace takes
// with it what else is inside.
func removalOrder() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"),
		appsv1.SchemeGroupVersion.WithKind("Deployment"),
		rbacv1.SchemeGroupVersion.WithKind("RoleBinding"),
		rbacv1.SchemeGroupVersion.WithKind("Role"),
		admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding"),
		admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy"),
		rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"),
		rbacv1.SchemeGroupVersion.WithKind("ClusterRole"),
		corev1.SchemeGroupVersion.WithKind("Namespace"),
	}
}

// PlanDisable finds everything that tekton-sign has in the cluster and the settings that enable changed. The plan is empty
// if there is nothing. tektonNamespace is where the settings are; empty: no Tekton is there any more.
func PlanDisable(ctx context.Context, c Clients, tektonNamespace string) (Plan, error) {
	plan := Plan{Environment: Environment{TektonNamespace: tektonNamespace}}
	for _, kind := range removalOrder() {
		found, err := c.findOurs(ctx, kind)
		if err != nil {
			return Plan{}, err
		}
		for _, object := range found {
			// What else is in the add-on's namespace goes with it; its Deployment goes before the grants.
			if object.GetNamespace() == manifests.Namespace && kind.Kind != "Deployment" {
				continue
			}
			plan.Changes = append(plan.Changes, Change{Action: Delete, Object: object})
		}
	}
	change, err := c.planRestore(ctx, tektonNamespace, len(plan.Changes) > 0)
	if err != nil {
		return Plan{}, err
	}
	if change != nil {
		// Last: as long as the settings say that signing is on, an interrupted run is seen to be unfinished.
		plan.Changes = append(plan.Changes, *change)
	}
	return plan, nil
}

// findOurs lists the objects of a kind that carry our label.
func (c Clients) findOurs(ctx context.Context, kind schema.GroupVersionKind) ([]*unstructured.Unstructured, error) {
	like := &unstructured.Unstructured{}
	like.SetGroupVersionKind(kind)
	list, err := c.Dynamic.Resource(gvrOf(like)).List(ctx, metav1.ListOptions{
		LabelSelector: manifests.LabelPartOf + "=" + manifests.PartOf,
	})
	if apierrors.IsNotFound(err) {
		return nil, nil // a server that does not know the kind holds none
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s objects of tekton-sign: %w", kind.Kind, err)
	}
	found := make([]*unstructured.Unstructured, len(list.Items))
	for i := range list.Items {
		found[i] = like.DeepCopy()
		found[i].SetNamespace(list.Items[i].GetNamespace())
		found[i].SetName(list.Items[i].GetName())
	}
	return found, nil
}

// planRestore returns what becomes of ConfigMap config-signing, nil for nothing. A ConfigMap that enable never touched is
// left alone unless other objects of ours show that it belongs to them.
func (c Clients) planRestore(ctx context.Context, namespace string, installed bool) (*Change, error) {
	if namespace == "" {
		return nil, nil
	}
	live, err := c.liveSettings(ctx, namespace)
	if err != nil || live == nil {
		return nil, err
	}
	if _, recorded := live.Annotations[annotationPrevious]; !recorded && !installed {
		return nil, nil
	}
	restored, err := restoreSettings(live)
	if err != nil {
		return nil, err
	}
	change := &Change{Action: Update, Keys: keyChanges(live, restored)}
	if restored == nil {
		change.Action, restored = Delete, live
	}
	restored.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	change.Object, err = toUnstructured(restored)
	return change, err
}

// Remove makes the changes of a plan from PlanDisable and waits until all is gone.
func (p Plan) Remove(ctx context.Context, c Clients, timeout time.Duration, progress Progress) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, change := range p.Changes {
		if err := c.make(ctx, change, false, progress); err != nil {
			return err
		}
		if change.Object.GetKind() == "Deployment" {
			if err := c.await(ctx, []condition{{"the add-on has stopped", c.podsGone}}, progress); err != nil {
				return err
			}
		}
	}
	if err := c.await(ctx, []condition{{"namespace " + manifests.Namespace + " is gone", c.namespaceGone}}, progress); err != nil {
		return err
	}
	return c.checkNothingLeft(ctx, p.Environment.TektonNamespace)
}

// podsGone looks whether the add-on still runs: a running one would put a grant back.
func (c Clients) podsGone(ctx context.Context) (bool, string, error) {
	pods, err := c.Kube.CoreV1().Pods(manifests.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: manifests.LabelPartOf + "=" + manifests.PartOf,
	})
	if err != nil {
		return false, "", fmt.Errorf("listing the add-on's pods: %w", err)
	}
	return len(pods.Items) == 0, fmt.Sprintf("%d pods are terminating", len(pods.Items)), nil
}

func (c Clients) namespaceGone(ctx context.Context) (bool, string, error) {
	_, err := c.Kube.CoreV1().Namespaces().Get(ctx, manifests.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, "", nil
	}
	if err != nil {
		return false, "", fmt.Errorf("reading namespace %s: %w", manifests.Namespace, err)
	}
	return false, "it is being deleted", nil
}

// checkNothingLeft looks a second time, for what came into being in between.
func (c Clients) checkNothingLeft(ctx context.Context, tektonNamespace string) error {
	again, err := PlanDisable(ctx, c, tektonNamespace)
	if err != nil {
		return err
	}
	if !again.Empty() {
		return fmt.Errorf("%d objects are left, the first is %s: run disable again",
			len(again.Changes), describe(again.Changes[0].Object))
	}
	return nil
}

// FindTektonNamespace returns where ConfigMap config-signing of an installation is: the namespace that its own Role is in,
// else that of Tekton's controller, else an empty name.
func FindTektonNamespace(ctx context.Context, c Clients) (string, error) {
	roles, err := c.findOurs(ctx, rbacv1.SchemeGroupVersion.WithKind("Role"))
	if err != nil {
		return "", err
	}
	for _, role := range roles {
		if role.GetNamespace() != manifests.Namespace {
			return role.GetNamespace(), nil
		}
	}
	list, err := c.Kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: tektonControllers})
	if err != nil {
		return "", fmt.Errorf("looking for Tekton Pipelines: %w", err)
	}
	for _, d := range list.Items {
		live, err := c.liveSettings(ctx, d.Namespace)
		if err != nil {
			return "", err
		}
		if live != nil && live.Name == settings.ConfigMapName {
			return d.Namespace, nil
		}
	}
	return "", nil
}
