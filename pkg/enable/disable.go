// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// removalOrder lists the kinds that disable removes. First the webhooks, so that nothing calls the add-on any more;
// then the add-on, which would put grants back; everything that grants somebody something; and only then the policies
// that confine it, and what the gate in front of Chains holds. The namespace takes with it what else is inside.
func removalOrder() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"),
		appsv1.SchemeGroupVersion.WithKind("Deployment"),
		schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"),
		rbacv1.SchemeGroupVersion.WithKind("RoleBinding"),
		rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"),
		rbacv1.SchemeGroupVersion.WithKind("Role"),
		admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding"),
		admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy"),
		rbacv1.SchemeGroupVersion.WithKind("ClusterRole"),
		corev1.SchemeGroupVersion.WithKind("Namespace"),
	}
}

// ownNamespace lists the kinds that disable removes one by one from the add-on's namespace when it keeps the
// namespace. Its Deployments and RoleBindings are gone by then.
func ownNamespace() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
		corev1.SchemeGroupVersion.WithKind("Service"),
		corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		corev1.SchemeGroupVersion.WithKind("Secret"),
		coordinationv1.SchemeGroupVersion.WithKind("Lease"),
		corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
		rbacv1.SchemeGroupVersion.WithKind("Role"),
	}
}

// PlanDisable finds everything that tekton-sign has in the cluster and the settings that enable changed. The plan is
// empty if there is nothing. tektonNamespace is where the settings are; empty: no Tekton is there any more.
//
// The trust history stays, and the namespace that it is in, unless purge is set: without it nobody can verify what
// was signed with keys that the cluster no longer has.
func PlanDisable(ctx context.Context, c Clients, tektonNamespace string, purge bool) (Plan, error) {
	plan := Plan{Environment: Environment{TektonNamespace: tektonNamespace}, Purge: purge}
	var kept []Change
	var err error
	if !purge {
		if kept, err = c.history(ctx); err != nil {
			return Plan{}, err
		}
	}
	for _, kind := range removalOrder() {
		if kind.Kind == "Namespace" && len(kept) > 0 {
			continue
		}
		if kind.Kind == "ClusterRole" { // the policy that guards the holds is gone, and what tells of them still there
			lifts, err := c.planLift(ctx)
			if err != nil {
				return Plan{}, err
			}
			plan.Changes = append(plan.Changes, lifts...)
		}
		found, err := c.findOurs(ctx, kind)
		if err != nil {
			return Plan{}, err
		}
		for _, object := range found {
			// What else is in the add-on's namespace goes with it, or after this.
			if object.GetNamespace() == manifests.Namespace && kind.Kind != "Deployment" && kind.Kind != "RoleBinding" {
				continue
			}
			plan.Changes = append(plan.Changes, Change{Action: Delete, Object: object})
		}
	}
	if len(kept) > 0 {
		rest, err := c.planEmptyNamespace(ctx)
		if err != nil {
			return Plan{}, err
		}
		plan.Changes = append(plan.Changes, rest...)
	}
	restore, err := c.planRestore(ctx, tektonNamespace)
	if err != nil {
		return Plan{}, err
	}
	// Last: as long as the settings say that signing is on, an interrupted run is seen to be unfinished.
	plan.Changes = append(append(plan.Changes, restore...), kept...)
	if plan.Warnings, err = c.settingsThatStay(ctx, tektonNamespace, restore); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// history lists the ConfigMaps of the trust history.
func (c Clients) history(ctx context.Context) ([]Change, error) {
	list, err := c.Kube.CoreV1().ConfigMaps(manifests.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking for the trust history: %w", err)
	}
	var kept []Change
	for i := range list.Items {
		if _, ok := trust.HistoryNumber(list.Items[i].Name); !ok {
			continue
		}
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
		object.SetNamespace(manifests.Namespace)
		object.SetName(list.Items[i].Name)
		kept = append(kept, Change{
			Action: Keep, Object: object, Note: "trust history: verifies what was signed with keys that were replaced",
		})
	}
	return kept, nil
}

// planEmptyNamespace removes everything of ours from the add-on's namespace but the trust history.
func (c Clients) planEmptyNamespace(ctx context.Context) ([]Change, error) {
	var changes []Change
	for _, kind := range ownNamespace() {
		selector := ours
		if kind.Kind == "Lease" {
			selector = "" // those of the leader election bear no label, and nobody else has any there
		}
		found, err := c.find(ctx, kind, manifests.Namespace, selector)
		if err != nil {
			return nil, err
		}
		for _, object := range found {
			if _, ok := trust.HistoryNumber(object.GetName()); ok && kind.Kind == "ConfigMap" {
				continue
			}
			changes = append(changes, Change{Action: Delete, Object: object})
		}
	}
	return changes, nil
}

// ours selects the objects of tekton-sign.
const ours = manifests.LabelPartOf + "=" + manifests.PartOf

// findOurs lists the objects of a kind that carry our label.
func (c Clients) findOurs(ctx context.Context, kind schema.GroupVersionKind) ([]*unstructured.Unstructured, error) {
	return c.find(ctx, kind, metav1.NamespaceAll, ours)
}

// find lists the objects of a kind in a namespace, or in all.
func (c Clients) find(ctx context.Context, kind schema.GroupVersionKind, namespace, selector string) (
	[]*unstructured.Unstructured, error,
) {
	like := &unstructured.Unstructured{}
	like.SetGroupVersionKind(kind)
	list, err := c.Dynamic.Resource(gvrOf(like)).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
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
		found[i].SetDeletionTimestamp(list.Items[i].GetDeletionTimestamp())
	}
	return found, nil
}

// planRestore returns what becomes of ConfigMap config-signing, if anything: what enable recorded there decides, and
// nothing that is or is not in the cluster beside it. A second run finds no record, and nothing to do.
func (c Clients) planRestore(ctx context.Context, namespace string) ([]Change, error) {
	if namespace == "" {
		return nil, nil
	}
	live, err := c.liveSettings(ctx, namespace)
	if err != nil || live == nil || !isOurs(live) {
		return nil, err
	}
	restored, err := restoreSettings(live)
	if err != nil {
		return nil, err
	}
	change := Change{Action: Update, Keys: keyChanges(live, restored)}
	if restored == nil {
		change.Action, restored = Delete, live
	}
	restored.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	change.Object, err = toUnstructured(restored)
	return []Change{change}, err
}

// settingsThatStay warns of settings of the user's that ask for signing, which nobody does any more.
func (c Clients) settingsThatStay(ctx context.Context, namespace string, restore []Change) ([]string, error) {
	if namespace == "" {
		return nil, nil
	}
	live, err := c.liveSettings(ctx, namespace)
	if err != nil || live == nil {
		return nil, err
	}
	stays := valueOf(live, settings.KeyBackend)
	for _, change := range restore {
		stays = nil
		if after, ok, _ := unstructured.NestedString(change.Object.Object, "data", settings.KeyBackend); ok && change.Action == Update {
			stays = &after
		}
	}
	if stays == nil || *stays == string(signing.BackendNone) {
		return nil, nil
	}
	return []string{fmt.Sprintf("ConfigMap %s/%s was there before enable and says %s: %s. It is yours and stays so; nobody acts on it any more. "+
		"To delete it: kubectl delete configmap -n %s %s", namespace, settings.ConfigMapName, settings.KeyBackend, *stays, namespace, settings.ConfigMapName)}, nil
}

// Remove makes the changes of a plan from PlanDisable and waits until all is gone.
func (p Plan) Remove(ctx context.Context, c Clients, timeout time.Duration, progress Progress) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	isDeployment := func(change Change) bool { return change.Object.GetKind() == "Deployment" }
	for i, change := range p.Changes {
		if err := c.remove(ctx, p, change, progress); err != nil {
			return err
		}
		if isDeployment(change) && !slices.ContainsFunc(p.Changes[i+1:], isDeployment) {
			if err := c.await(ctx, []condition{{name: "the add-on has stopped", met: c.podsGone}}, progress); err != nil {
				return err
			}
		}
	}
	if p.removesNamespace() {
		gone := condition{name: "namespace " + manifests.Namespace + " is gone", met: c.namespaceGone}
		if err := c.await(ctx, []condition{gone}, progress); err != nil {
			return err
		}
	}
	return c.await(ctx, []condition{{name: "nothing is left", met: c.nothingLeft(p, progress)}}, progress)
}

// remove makes one change. Settings that somebody has changed meanwhile are looked at again: what was recorded in
// them still holds.
func (c Clients) remove(ctx context.Context, p Plan, change Change, progress Progress) error {
	for {
		err := c.make(ctx, change, false, progress)
		switch {
		case !isSettings(change.Object), ctx.Err() != nil:
			return err
		case apierrors.IsNotFound(err): // somebody has deleted them
			return nil
		case !apierrors.IsConflict(err):
			return err
		}
		again, err := c.planRestore(ctx, p.Environment.TektonNamespace)
		if err != nil || len(again) == 0 {
			return err
		}
		change = again[0]
	}
}

func (p Plan) removesNamespace() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action == Delete && c.Object.GetKind() == "Namespace" })
}

// podsGone looks whether the add-on still runs: a running one would put a grant back.
func (c Clients) podsGone(ctx context.Context) (bool, string, error) {
	pods, err := c.Kube.CoreV1().Pods(manifests.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: manifests.LabelPartOf + "=" + manifests.PartOf,
	})
	if err != nil {
		return false, "", fmt.Errorf("listing the add-on's pods: %w", err)
	}
	if len(pods.Items) == 0 {
		return true, "", nil
	}
	return false, fmt.Sprintf("%d pods are terminating", len(pods.Items)), nil
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

// nothingLeft looks again: for what the garbage collector has not removed yet, and for what came into being in
// between, which goes, too. Only who goes on putting things back keeps disable from its end.
func (c Clients) nothingLeft(done Plan, progress Progress) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		again, err := PlanDisable(ctx, c, done.Environment.TektonNamespace, done.Purge)
		if err != nil || again.Empty() {
			return err == nil, "", err
		}
		left := slices.DeleteFunc(again.Changes, func(change Change) bool { return change.Action == Keep })
		for _, change := range left {
			if change.Object.GetDeletionTimestamp() == nil {
				return false, describe(change.Object) + " was there again", c.remove(ctx, done, change, progress)
			}
		}
		return false, fmt.Sprintf("%s and %d more are being deleted", describe(left[0].Object), len(left)-1), nil
	}
}

// FindTektonNamespace returns where ConfigMap config-signing of an installation is: the namespace that its own Role
// is in, else that of Tekton's controller, else an empty name.
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
	controllers, err := controllersIn(ctx, c.Kube, metav1.NamespaceAll)
	if err != nil && (len(controllers) == 0 || !IsForbidden(err)) {
		return "", err
	}
	for _, controller := range controllers {
		live, err := c.liveSettings(ctx, controller.Namespace)
		if err != nil {
			return "", err
		}
		if live != nil {
			return controller.Namespace, nil
		}
	}
	return "", nil
}
