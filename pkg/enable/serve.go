// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// beforeWebhooks is what has to hold before the API server is pointed to the add-on.
func (p Plan) beforeWebhooks(c Clients) []condition {
	conditions := []condition{
		{name: "the keeper is available", met: c.keeperAvailable},
		{name: "the add-on is available", met: c.addOnAvailable},
	}
	if backends.Of(p.Settings.Backend).Tokens {
		conditions = append(conditions, condition{
			name: "the policies bite and every namespace in scope has its grant", met: p.grantsInPlace(c),
		})
	}
	return conditions
}

// afterWebhooks is what has to hold before signing may be called on.
func (p Plan) afterWebhooks(c Clients) []condition {
	conditions := []condition{
		{name: "the webhooks have their certificate authority and their namespaces", met: p.webhooksServed(c)},
	}
	if backends.Of(p.Settings.Backend).Signs {
		return append(conditions, condition{
			name: "a TaskRun's pod comes back with the signer in it (dry run)", met: p.podInjected(c), explained: true,
		})
	}
	return append(conditions, condition{name: "the API server reaches the add-on", met: c.addOnReached, explained: true})
}

// addOnReached looks whether the API server reaches the add-on.
func (c Clients) addOnReached(ctx context.Context) (bool, string, error) {
	if reason := c.unreached(ctx); reason != "" {
		return false, reason + "; " + openPort(), nil
	}
	return true, "", nil
}

// addOnAvailable looks at the Deployment of the webhooks.
func (c Clients) addOnAvailable(ctx context.Context) (bool, string, error) {
	done, missing, err := c.deploymentAvailable(ctx, manifests.Controller)
	if err != nil || !done {
		return false, missing, err
	}
	return c.noneLeaves(ctx)
}

// keeperAvailable looks at the Deployment of the keeper.
func (c Clients) keeperAvailable(ctx context.Context) (bool, string, error) {
	return c.deploymentAvailable(ctx, manifests.Keeper)
}

func (c Clients) deploymentAvailable(ctx context.Context, name string) (bool, string, error) {
	d, err := c.Kube.AppsV1().Deployments(manifests.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, "", fmt.Errorf("reading Deployment %s: %w", name, err)
	}
	switch complete, missing := available(d); {
	case complete:
		return true, "", nil
	case missing != "":
		return false, missing, nil
	}
	return false, c.whyUnavailable(ctx, d), nil
}

// noneLeaves looks whether a replica is still being drained. API servers may go on calling it, and one of an older version does
// not know what this one was asked for.
func (c Clients) noneLeaves(ctx context.Context) (bool, string, error) {
	pods, err := c.Kube.CoreV1().Pods(manifests.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: manifests.LabelPartOf + "=" + manifests.PartOf,
	})
	if err != nil {
		return false, "", fmt.Errorf("listing the add-on's pods: %w", err)
	}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil {
			return false, "a replica of before is being drained", nil
		}
	}
	return true, "", nil
}

// whyUnavailable says what keeps the add-on's pods from running, as far as their states tell.
func (c Clients) whyUnavailable(ctx context.Context, d *appsv1.Deployment) string {
	pods, err := c.Kube.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: manifests.LabelPartOf + "=" + manifests.PartOf,
	})
	if err != nil || len(pods.Items) == 0 {
		return "no pod yet"
	}
	var reasons []string
	for _, pod := range pods.Items {
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
	}
	if len(reasons) == 0 {
		return fmt.Sprintf("%d of %d pods are ready", d.Status.AvailableReplicas, len(pods.Items))
	}
	slices.Sort(reasons)
	return strings.Join(slices.Compact(reasons), "; ")
}

// grantsInPlace looks whether every namespace in scope has the RoleBinding of the token grant.
func (p Plan) grantsInPlace(c Clients) func(context.Context) (bool, string, error) {
	inScope := p.Settings.Scope.Matcher(settings.Reserved(p.Environment.TektonNamespace))
	return func(ctx context.Context) (bool, string, error) {
		fence, err := manifests.FenceVersion()
		if err != nil {
			return false, "", err
		}
		namespaces, err := c.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", fmt.Errorf("listing namespaces: %w", err)
		}
		bindings, err := c.Kube.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{
			LabelSelector: manifests.LabelPartOf + "=" + manifests.PartOf,
		})
		if err != nil {
			return false, "", fmt.Errorf("listing the grants: %w", err)
		}
		granted := map[string]bool{}
		for i := range bindings.Items {
			b := &bindings.Items[i]
			if b.Name == manifests.TokenRequester {
				granted[b.Namespace] = manifests.SameGrant(b, manifests.Grant(b.Namespace, fence))
			}
		}
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
}

// wrongSigner says why the canary's step, which the signer wraps, does not sign as the plan wants it, nothing if it does.
func (p Plan) wrongSigner(canary corev1.Container) string {
	config, _, err := step.Parse(canary.Args)
	if err != nil {
		return fmt.Sprintf("the pod's signer comes back with other arguments than this version's: %v", err)
	}
	if config.Options != p.Settings.Step() {
		return "the pod's signer still has the settings from before"
	}
	return ""
}
