// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func deliveryChecks() []Check {
	return []Check{
		{
			ID: "TS501", Group: GroupDelivery, Title: "pods get the signer without another container",
			Why: "an init container takes its part of the room for termination messages, an image volume takes none",
			Fix: "Nothing needs to be done. With Kubernetes 1.35 and containerd 2.1 or CRI-O 1.33 on every " +
				"node, pods get the signer by an image volume.",
			Run: checkVolumes, Skip: nothingInPods,
		},
		{
			ID: "TS502", Group: GroupDelivery, Title: "every kind of node can pull the signer's image",
			Why: "a TaskRun whose node cannot pull it would not start",
			Fix: "Name a Secret with which the image is pulled (--pull-secret), or copy the images to a " +
				"registry that nodes reach (--registry).",
			Run: checkPull,
			Skip: func(f *Facts) string {
				if reason := nothingInPods(f); reason != "" {
					return reason
				}
				return withoutPlan(f)
			},
		},
	}
}

// checkVolumes reports how pods get the signer, and what that costs.
func checkVolumes(ctx context.Context, f *Facts) []status.Check {
	by, why, err := f.delivery(ctx)
	if err != nil {
		return unread("the nodes", err)
	}
	if by == settings.DeliveryImage {
		return pass("by an image volume")
	}
	return one(status.Check{
		Status:  verify.Note,
		Message: "by an init container, which leaves each step less room for results: " + why,
	})
}

// delivery returns how pods get the signer, and why not by an image volume.
func (f *Facts) delivery(ctx context.Context) (by settings.Delivery, why string, err error) {
	if f.Settings.Delivery != settings.DeliveryAuto {
		return f.Settings.Delivery, "the setting delivery is " + string(f.Settings.Delivery), nil
	}
	nodes, err := f.nodes(ctx)
	if err != nil {
		return settings.DeliveryInit, "", err
	}
	if why = delivery.LacksImageVolumes(f.Kubernetes, nodes); why != "" {
		return settings.DeliveryInit, why, nil
	}
	return settings.DeliveryImage, "", nil
}

// checkPull starts short pods, as enable does.
func checkPull(ctx context.Context, f *Facts) []status.Check {
	var doubts []string
	_, err := f.Plan.ProveSigner(ctx, f.Clients, func(format string, args ...any) {
		if strings.HasPrefix(format, "not proven") {
			doubts = append(doubts, fmt.Sprintf(format, args...))
		}
	})
	switch {
	case err != nil && (enable.IsForbidden(err) || ctx.Err() != nil):
		return unread("whether nodes pull "+f.Plan.SignerImage, err)
	case err != nil:
		return one(status.Check{
			Status: verify.Fail, Message: err.Error(),
			Next: f.Enable + " --pull-secret NAME, or --registry with one that your nodes reach",
		})
	case len(doubts) > 0:
		return findingsOf(doubts)
	}
	return pass("nodes get %s", f.Plan.SignerImage)
}

// findingsOf reports what could not be shown. TS603 reports the namespaces that refuse pods.
func findingsOf(doubts []string) []status.Check {
	var found []status.Check
	for _, doubt := range doubts {
		c := status.Check{Status: verify.Unknown, Message: doubt}
		if strings.Contains(doubt, enable.ProbeRefused) {
			c.Status = verify.Note
		}
		found = append(found, c)
	}
	return found
}

func namespaceChecks() []Check {
	return []Check{
		{
			ID: "TS601", Group: GroupNamespaces, Title: "namespaces are in scope",
			Why: "TaskRuns of other namespaces stay as they are",
			Fix: "Correct --namespaces or --namespace-selector.",
			Run: checkScope,
		},
		{
			ID: "TS602", Group: GroupNamespaces, Title: "labels of namespaces name a mode",
			Why: "a label " + settings.LabelEnforcement + " with another value counts as none",
			Fix: "Remove the label, or set it to audit or enforce.",
			Run: shared(checks.CheckNamespaces, status.CheckEnforcementLabels),
		},
		{
			ID: "TS603", Group: GroupNamespaces, Title: "every namespace accepts a pod with the signer",
			Why: "policy engines, Pod Security, quotas and LimitRanges can refuse image volumes, registries or init containers",
			Fix: "Exempt the signer's image in the policy, raise the quota, or choose another delivery with " +
				"--delivery. Otherwise the TaskRuns of that namespace run unsigned in audit, and fail in " +
				"enforce.",
			Run: checkPods, Skip: nothingInPods,
		},
		{
			ID: "TS604", Group: GroupNamespaces, Title: "no NetworkPolicy keeps the signer from its token",
			Why: "the signer asks the API server for its token; a pod that cannot reach it runs unsigned",
			Fix: "Let the pods of TaskRuns reach the API server, or use backend receipt, which needs no " +
				"connection.",
			Run:  checkEgress,
			Skip: func(f *Facts) string { return unless(f.backend().Tokens, "steps sign without tokens") },
		},
	}
}

func checkScope(ctx context.Context, f *Facts) []status.Check {
	if found := shared(checks.CheckNamespaces, status.CheckNamespaces)(ctx, f); len(found) > 0 {
		return found
	}
	n := f.inScope()
	return pass("%d: %s", len(n), names.Few(n))
}

// maxTrials is in how many namespaces a pod is tried.
const maxTrials = 200

// checkPods asks the API server, as a dry run, to create a pod with the signer in each namespace in scope. Once the
// add-on is there, it does this itself, and its list is shown: others may not create the pods of TaskRuns then.
func checkPods(ctx context.Context, f *Facts) []status.Check {
	if f.AddOn.Deployment != nil {
		return shared(checks.CheckDelivery, status.CheckDelivery)(ctx, f)
	}
	if f.PlanErr != nil {
		return one(status.Check{Status: verify.Unknown, Message: "enable cannot make its plan (TS201)"})
	}
	by, _, err := f.delivery(ctx)
	if err != nil {
		return unread("the nodes", err)
	}
	scope := f.inScope()
	untried := max(0, len(scope)-maxTrials)
	found := make([][]status.Check, len(scope)-untried)
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, namespace := range scope[:len(scope)-untried] {
		group.Go(func() error {
			found[i] = f.tryPod(ctx, namespace, by)
			return nil
		})
	}
	_ = group.Wait() // each namespace has its own finding
	all := slices.Concat(found...)
	if untried > 0 {
		all = append(all, status.Check{Status: verify.Note,
			Message: fmt.Sprintf("%d more namespaces were not tried; the add-on tries all of them", untried)})
	}
	if len(all) == 0 {
		return pass("namespaces tried: %d", len(scope))
	}
	return all
}

// tryPod returns why a namespace does not accept a pod with the signer, nothing if it does. A namespace that refuses
// the pod without the signer too refuses every TaskRun.
func (f *Facts) tryPod(ctx context.Context, namespace string, by settings.Delivery) []status.Check {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	plain := inject.Model(namespace, f.Plan.SignerImage)
	injected, err := inject.Pod(plain, f.injection(by))
	if err != nil {
		return one(status.Check{Status: verify.Fail, Message: "namespace " + namespace + ": " + err.Error()})
	}
	refused := f.createDry(ctx, injected)
	if refused == nil {
		return nil
	}
	if f.createDry(ctx, plain) != nil {
		return one(status.Check{
			Status: verify.Note,
			Message: "namespace " + namespace + " was not tried: it refuses the pod without the signer too: " +
				refused.Error(),
		})
	}
	return one(status.Check{
		Status: verify.Warn, Message: "namespace " + namespace + " refuses pods with the signer: " + refused.Error(),
		Object: &status.Object{Kind: "Namespace", Name: namespace},
		Next: "admit the signer there: exempt image " + f.Plan.SignerImage + " in that policy; or choose another way with " +
			"--delivery; otherwise its TaskRuns run unsigned",
	})
}

func (f *Facts) injection(by settings.Delivery) inject.Options {
	return inject.Options{
		SignerImage: f.Plan.SignerImage, PullPolicy: corev1.PullIfNotPresent, PullSecrets: f.Settings.PullSecrets,
		Delivery: inject.Delivery(by), Step: f.Settings.Step(), Patience: probeTime, Volumes: f.backend().StepVolumes,
	}
}

// createDry returns why the API server would not create a pod.
func (f *Facts) createDry(ctx context.Context, pod *corev1.Pod) error {
	_, err := f.Clients.Kube.CoreV1().Pods(pod.Namespace).Create(ctx, pod,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// checkEgress looks for NetworkPolicies that apply to the pods of TaskRuns and restrict where they may connect.
func checkEgress(ctx context.Context, f *Facts) []status.Check {
	gvr := networkingv1.SchemeGroupVersion.WithResource("networkpolicies")
	list, err := f.Clients.Dynamic.Resource(gvr).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return pass("this cluster has no NetworkPolicies")
	}
	if err != nil {
		return unread("the NetworkPolicies of all namespaces", err)
	}
	var found []string
	for i := range list.Items {
		if p := &list.Items[i]; f.InScope(p.GetNamespace()) && cutsOff(p) {
			found = append(found, p.GetNamespace()+"/"+p.GetName())
		}
	}
	if len(found) == 0 {
		return pass("none restricts where the pods of TaskRuns connect")
	}
	return one(status.Check{
		Status: verify.Warn, Got: names.Few(found), Expected: "no restriction, or one that admits the API server",
		Message: "these NetworkPolicies restrict where the pods of TaskRuns may connect; " +
			"if they do not admit the API server, steps run unsigned",
		Next: "allow egress to the API server " +
			"(kubectl get endpointslices -n default -l kubernetes.io/service-name=kubernetes), " +
			"or use backend receipt, which needs no connection",
	})
}

// cutsOff reports whether a NetworkPolicy applies to the pods of TaskRuns and has no rule that admits every address.
func cutsOff(object *unstructured.Unstructured) bool {
	var p networkingv1.NetworkPolicy
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &p); err != nil {
		return true
	}
	restricts := false
	for _, t := range p.Spec.PolicyTypes {
		restricts = restricts || t == networkingv1.PolicyTypeEgress
	}
	selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
	if err != nil || !restricts || !selector.Matches(labels.Set(inject.Model("", "").Labels)) {
		return err != nil
	}
	for _, rule := range p.Spec.Egress {
		if len(rule.To) == 0 {
			return false
		}
	}
	return true
}
