// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// serving evaluates whether the add-on does what a plan wants. Its methods with three results are conditions to wait
// for.
type serving struct {
	Clients
	plan Plan
}

// beforeWebhooks are the conditions under which the API server may call the add-on.
func (s serving) beforeWebhooks() []condition {
	return []condition{
		{name: "the keeper is available", met: s.keeperAvailable},
		{name: "the add-on is available", met: s.addOnAvailable},
		{name: "the policies are in effect and every namespace in scope has its grant", met: s.grantsInPlace},
	}
}

// afterWebhooks are the conditions under which signing is on.
func (s serving) afterWebhooks() []condition {
	last := condition{name: "the API server reaches the add-on", met: s.addOnReached, explained: true}
	if backends.Of(s.plan.Settings.Backend).Signs {
		last = condition{
			name: "a TaskRun's pod comes back with the signer in it (dry run)", met: s.podInjected, explained: true,
		}
	}
	return []condition{
		{name: "the webhooks have their certificate authority and their namespaces", met: s.webhooksServed}, last,
	}
}

// addOnReached evaluates whether the API server reaches the add-on.
func (s serving) addOnReached(ctx context.Context) (bool, string, error) {
	if reason := Unreached(ctx, s.Kube); reason != "" {
		return false, reason + "; " + OpenPort(), nil
	}
	return true, "", nil
}

// addOnAvailable evaluates the Deployment of the webhooks.
func (s serving) addOnAvailable(ctx context.Context) (bool, string, error) {
	done, missing, err := s.deploymentAvailable(ctx, manifests.Controller)
	if err != nil || !done {
		return false, missing, err
	}
	return s.noneLeaves(ctx)
}

// keeperAvailable evaluates the Deployment of the keeper.
func (s serving) keeperAvailable(ctx context.Context) (bool, string, error) {
	return s.deploymentAvailable(ctx, manifests.Keeper)
}

func (s serving) deploymentAvailable(ctx context.Context, name string) (bool, string, error) {
	d, err := s.Kube.AppsV1().Deployments(manifests.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, "", fmt.Errorf("reading Deployment %s: %w", name, err)
	}
	done, missing := Available(ctx, s.Kube, d)
	return done, missing, nil
}

// noneLeaves waits for replicas that are being drained. API servers may go on calling them, and a replica of an older
// version does not know the new settings.
func (s serving) noneLeaves(ctx context.Context) (bool, string, error) {
	pods, err := ownPods(ctx, s.Kube)
	if err != nil {
		return false, "", err
	}
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil {
			return false, "a replica of before is being drained", nil
		}
	}
	return true, "", nil
}

// ownPods lists the pods of the add-on.
func ownPods(ctx context.Context, client kubeclient.Interface) ([]corev1.Pod, error) {
	pods, err := client.CoreV1().Pods(manifests.Namespace).List(ctx, metav1.ListOptions{LabelSelector: manifests.Selector})
	if err != nil {
		return nil, fmt.Errorf("listing the add-on's pods: %w", err)
	}
	return pods.Items, nil
}

// Available reports whether all replicas of a Deployment of the add-on are available, in its latest state, and if
// not, what is missing.
func Available(ctx context.Context, client kubeclient.Interface, d *appsv1.Deployment) (complete bool, missing string) {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	st := d.Status
	switch {
	case want == 0:
		return false, "it is scaled to 0"
	case st.ObservedGeneration < d.Generation:
		return false, "the latest change was not acted on yet"
	case st.UpdatedReplicas >= want && st.AvailableReplicas >= want && st.Replicas == st.UpdatedReplicas:
		return true, ""
	}
	return false, whyUnavailable(ctx, client, d)
}

// whyUnavailable returns what keeps the pods of a Deployment from running, as far as their states show it.
func whyUnavailable(ctx context.Context, client kubeclient.Interface, d *appsv1.Deployment) string {
	pods, err := client.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: manifests.Selector})
	if err != nil || len(pods.Items) == 0 {
		return "no pod yet"
	}
	var reasons []string
	for i := range pods.Items {
		reasons = append(reasons, waitsFor(&pods.Items[i])...)
	}
	if len(reasons) == 0 {
		return fmt.Sprintf("%d of %d pods are ready", d.Status.AvailableReplicas, len(pods.Items))
	}
	slices.Sort(reasons)
	return strings.Join(slices.Compact(reasons), "; ")
}

// waitsFor lists what the containers of a pod wait for, and why it is not scheduled.
func waitsFor(pod *corev1.Pod) []string {
	var reasons []string
	for _, status := range pod.Status.ContainerStatuses {
		if w := status.State.Waiting; w != nil && w.Reason != "" {
			reasons = append(reasons, strings.TrimSuffix(w.Reason+": "+w.Message, ": "))
		}
	}
	for _, cond := range pod.Status.Conditions {
		if cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse {
			reasons = append(reasons, "not scheduled: "+cond.Message)
		}
	}
	return reasons
}

// grantsInPlace evaluates whether every namespace in scope has its RoleBinding.
func (s serving) grantsInPlace(ctx context.Context) (bool, string, error) {
	granted, err := s.granted(ctx)
	if err != nil {
		return false, "", err
	}
	namespaces, err := s.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, "", fmt.Errorf("listing namespaces: %w", err)
	}
	inScope := s.plan.Settings.Scope.Matcher(settings.Reserved(s.plan.Environment.TektonNamespace))
	wanted, missing := 0, 0
	for _, ns := range namespaces.Items {
		if ns.DeletionTimestamp == nil && inScope(ns.Labels) {
			wanted++
			if !granted[ns.Name] {
				missing++
			}
		}
	}
	if missing == 0 {
		return true, "", nil
	}
	return false, fmt.Sprintf("%d of %d namespaces lack RoleBinding %s", missing, wanted, manifests.TokenRequester), nil
}

// granted returns the namespaces that have the grant of this version.
func (s serving) granted(ctx context.Context) (map[string]bool, error) {
	fence, err := manifests.FenceVersion()
	if err != nil {
		return nil, err
	}
	bindings, err := s.Kube.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{LabelSelector: manifests.Selector})
	if err != nil {
		return nil, fmt.Errorf("listing the grants: %w", err)
	}
	granted := map[string]bool{}
	for i := range bindings.Items {
		b := &bindings.Items[i]
		if b.Name == manifests.TokenRequester {
			granted[b.Namespace] = manifests.SameGrant(b, manifests.GrantInstead(b, s.plan.Settings.Backend, b.Namespace, fence))
		}
	}
	return granted, nil
}

// webhooksServed evaluates whether the add-on has written its certificate authority and the namespaces of the
// settings into the webhook configurations.
func (s serving) webhooksServed(ctx context.Context) (bool, string, error) {
	selectors := manifests.WebhookSelectors(s.plan.Settings, s.plan.Environment.TektonNamespace)
	configurations := s.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	for _, name := range manifests.WebhookConfigurationsOf(s.plan.Settings.Backend) {
		configuration, err := configurations.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", fmt.Errorf("reading MutatingWebhookConfiguration %s: %w", name, err)
		}
		for _, w := range configuration.Webhooks {
			if len(w.ClientConfig.CABundle) == 0 {
				return false, name + " has no certificate authority", nil
			}
			if !equality.Semantic.DeepEqual(w.NamespaceSelector, selectors[w.Name]) {
				return false, w.Name + " is not for the namespaces of the settings", nil
			}
		}
	}
	return true, "", nil
}
