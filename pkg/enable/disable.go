// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"

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
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// RemovedKinds lists the kinds that disable removes, in their order. First the webhooks, so that nothing calls the
// add-on any more; then the add-on, which would restore grants; then everything that grants rights or identities; and
// only then the policies that limit them, and the holds of the gate in front of Chains. What else is in the namespace
// is deleted with it.
func RemovedKinds() []schema.GroupVersionKind {
	return slices.Concat([]schema.GroupVersionKind{
		admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"),
		appsv1.SchemeGroupVersion.WithKind("Deployment"),
		schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"),
		rbacv1.SchemeGroupVersion.WithKind("RoleBinding"),
		rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"),
		rbacv1.SchemeGroupVersion.WithKind("Role"),
	}, backends.Kinds(), []schema.GroupVersionKind{
		admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding"),
		admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy"),
		rbacv1.SchemeGroupVersion.WithKind("ClusterRole"),
		corev1.SchemeGroupVersion.WithKind("Namespace"),
	})
}

// kindsInside lists the kinds that disable removes one by one from the add-on's namespace when it keeps the
// namespace. The Deployments and RoleBindings in it are gone by then.
func kindsInside() []schema.GroupVersionKind {
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

// PlanDisable finds everything that tekton-sign has in the cluster, and the settings that enable changed. The plan is
// empty if there is nothing. tektonNamespace is where the settings are; empty: there is no Tekton any more.
//
// The trust history stays, and so does its namespace, unless purge is set: without it nobody can verify what was
// signed with keys that the cluster no longer has.
func PlanDisable(ctx context.Context, c Clients, tektonNamespace string, purge bool) (Plan, error) {
	f := finder{Clients: c, tektonNamespace: tektonNamespace}
	plan := Plan{Environment: Environment{TektonNamespace: tektonNamespace}, Purge: purge}
	var kept []Change
	var err error
	if !purge {
		if kept, err = TrustHistory(ctx, c.Kube); err != nil {
			return Plan{}, err
		}
	}
	if plan.Changes, err = f.removals(ctx, len(kept) > 0); err != nil {
		return Plan{}, err
	}
	restore, err := f.restore(ctx)
	if err != nil {
		return Plan{}, err
	}
	// Last: as long as the settings turn signing on, an interrupted run is seen to be unfinished.
	plan.Changes = slices.Concat(plan.Changes, restore, kept)
	if plan.Warnings, err = f.settingsThatStay(ctx, restore); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// finder finds what disable changes.
type finder struct {
	Clients
	tektonNamespace string
}

// removals returns what is deleted. keepNamespace means that the add-on's namespace stays.
func (f finder) removals(ctx context.Context, keepNamespace bool) ([]Change, error) {
	var changes []Change
	for _, kind := range RemovedKinds() {
		if kind.Kind == "Namespace" && keepNamespace {
			continue
		}
		if kind.Kind == "ClusterRole" { // the policy that guards the holds is gone, and the role that shows them is not yet
			lifts, err := planLift(ctx, f.Kube)
			if err != nil {
				return nil, err
			}
			changes = append(changes, lifts...)
		}
		found, err := FindOwn(ctx, f.Dynamic, kind)
		if err != nil {
			return nil, err
		}
		for _, u := range found {
			// What else is in the add-on's namespace is deleted with it, or after this.
			if u.GetNamespace() == manifests.Namespace && kind.Kind != "Deployment" && kind.Kind != "RoleBinding" {
				continue
			}
			changes = append(changes, Change{Action: Delete, Object: u})
		}
	}
	if !keepNamespace {
		return changes, nil
	}
	rest, err := f.insideNamespace(ctx)
	return append(changes, rest...), err
}

// TrustHistory lists the ConfigMaps of the trust history, which disable keeps.
func TrustHistory(ctx context.Context, client kubeclient.Interface) ([]Change, error) {
	list, err := client.CoreV1().ConfigMaps(manifests.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking for the trust history: %w", err)
	}
	var kept []Change
	for i := range list.Items {
		name := list.Items[i].Name
		if _, ok := trust.HistoryNumber(name); !ok {
			continue
		}
		kept = append(kept, Change{
			Action: Keep,
			Object: object.Named(corev1.SchemeGroupVersion.WithKind("ConfigMap"), manifests.Namespace, name),
			Note:   "trust history: verifies what was signed with keys that were replaced",
		})
	}
	return kept, nil
}

// insideNamespace removes everything of ours from the add-on's namespace but the trust history.
func (f finder) insideNamespace(ctx context.Context) ([]Change, error) {
	var changes []Change
	for _, kind := range kindsInside() {
		selector := manifests.Selector
		if kind.Kind == "Lease" {
			selector = "" // those of the leader election have no label, and nobody else has any there
		}
		found, err := find(ctx, f.Dynamic, kind, manifests.Namespace, selector)
		if err != nil {
			return nil, err
		}
		for _, u := range found {
			if _, ok := trust.HistoryNumber(u.GetName()); ok && kind.Kind == "ConfigMap" {
				continue
			}
			changes = append(changes, Change{Action: Delete, Object: u})
		}
	}
	return changes, nil
}

// FindOwn lists the objects of a kind that have the label of tekton-sign. Who may not list objects of another
// controller has made none.
func FindOwn(
	ctx context.Context, client dynamic.Interface, kind schema.GroupVersionKind,
) ([]*unstructured.Unstructured, error) {
	found, err := find(ctx, client, kind, metav1.NamespaceAll, manifests.Selector)
	if IsForbidden(err) && slices.Contains(backends.Kinds(), kind) {
		return nil, nil
	}
	return found, err
}

// find lists the objects of a kind in a namespace, or in all: their names, and whether they are being deleted.
func find(ctx context.Context, client dynamic.Interface, kind schema.GroupVersionKind, namespace, selector string) (
	[]*unstructured.Unstructured, error,
) {
	resource := object.GVR(object.Named(kind, "", ""))
	list, err := client.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if apierrors.IsNotFound(err) {
		return nil, nil // a server without the kind has no objects of it
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s objects of tekton-sign: %w", kind.Kind, err)
	}
	found := make([]*unstructured.Unstructured, len(list.Items))
	for i := range list.Items {
		found[i] = object.Named(kind, list.Items[i].GetNamespace(), list.Items[i].GetName())
		found[i].SetDeletionTimestamp(list.Items[i].GetDeletionTimestamp())
	}
	return found, nil
}

// restore returns the change of ConfigMap config-signing, if there is one. Only what enable recorded there counts,
// not what else is in the cluster. A second run finds no record, and changes nothing.
func (f finder) restore(ctx context.Context) ([]Change, error) {
	if f.tektonNamespace == "" {
		return nil, nil
	}
	live, err := LiveSettings(ctx, f.Kube, f.tektonNamespace)
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
	change.Object, err = object.From(restored)
	return []Change{change}, err
}

// settingsThatStay warns of settings of the user's that ask for signing, which nothing acts on any more.
func (f finder) settingsThatStay(ctx context.Context, restore []Change) ([]Warning, error) {
	if f.tektonNamespace == "" {
		return nil, nil
	}
	live, err := LiveSettings(ctx, f.Kube, f.tektonNamespace)
	if err != nil || live == nil {
		return nil, err
	}
	stays := valueOf(live, settings.KeyBackend)
	for _, change := range restore {
		stays = nil
		after, ok, _ := unstructured.NestedString(change.Object.Object, "data", settings.KeyBackend)
		if ok && change.Action == Update {
			stays = &after
		}
	}
	if stays == nil || *stays == string(signing.BackendNone) {
		return nil, nil
	}
	return []Warning{{TopicKept, fmt.Sprintf("ConfigMap %s/%s existed before enable and has %s: %s. "+
		"It is yours and stays; nothing uses it any more. To delete it: kubectl delete configmap -n %s %s",
		f.tektonNamespace, settings.ConfigMapName, settings.KeyBackend, *stays,
		f.tektonNamespace, settings.ConfigMapName)}}, nil
}

// FindTektonNamespace returns the namespace with ConfigMap config-signing of an installation: the namespace of its
// own Role, else the one of Tekton's controller, else an empty name.
func FindTektonNamespace(ctx context.Context, c Clients) (string, error) {
	roles, err := FindOwn(ctx, c.Dynamic, rbacv1.SchemeGroupVersion.WithKind("Role"))
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
		live, err := LiveSettings(ctx, c.Kube, controller.Namespace)
		if err != nil {
			return "", err
		}
		if live != nil {
			return controller.Namespace, nil
		}
	}
	return "", nil
}
