// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func tektonChecks() []Check {
	return []Check{
		{
			ID: "TS101", Group: GroupTekton, Title: "Tekton Pipelines is installed",
			Why: "the add-on signs and verifies what Tekton's controller runs",
			Fix: "Install Tekton Pipelines. If its controller has other labels than in the releases, name " +
				"its namespace with --tekton-namespace.",
			Run: shared(checks.CheckTekton, status.CheckTekton),
		},
		{
			ID: "TS102", Group: GroupTekton, Title: "the version of Tekton is one that is tested",
			Why: "the signer wraps Tekton's entrypoint, whose arguments differ between versions",
			Fix: "Upgrade Tekton to one of its long-term releases. A Tekton that you built yourself has no " +
				"version in its labels; then nothing is wrong if its code is that of a tested release.",
			Run: checkTektonVersion, Skip: withoutTekton,
		},
		{
			ID: "TS103", Group: GroupTekton, Title: "one controller of Tekton runs the TaskRuns in scope",
			Why: "the policies and webhooks admit the pods of one controller only",
			Fix: "Name only the namespaces of one controller (--namespaces or --namespace-selector), or " +
				"install a second add-on in another cluster.",
			Run: shared(checks.CheckOtherControllers, status.CheckTekton), Skip: withoutTekton,
		},
		{
			ID: "TS104", Group: GroupTekton, Title: "who manages Tekton is known",
			Why: "Tekton Operator reverts changes of what it manages, and can delete TaskRuns",
			Fix: "Nothing needs to be done. Set the switches of Tekton in the TektonConfig.",
			Run: checkOperator, Skip: withoutTekton,
		},
		{
			ID: "TS105", Group: GroupTekton, Title: "one signer signs, the add-on's or Tekton's own",
			Why: "pods in which Tekton's own signer is on get no other, and evidence of it counts only where format v1 does",
			Fix: "Turn Tekton's own signer off: set enforce-nonfalsifiability to none in ConfigMap feature-flags. " +
				"Or leave signing to it: " + settings.LeaveToTekton + ".",
			Run: shared(checks.CheckFeatureFlags, status.CheckTektonSigner), Skip: withoutTekton,
		},
		{
			ID: "TS106", Group: GroupTekton, Title: "Tekton tries again when no webhook answers",
			Why:  "where results are enforced, a TaskRun that starts during an outage of the webhooks fails at once",
			Fix:  "Set enable-wait-exponential-backoff to true in ConfigMap feature-flags.",
			Run:  shared(checks.CheckFeatureFlags, status.CheckBackoff),
			Skip: func(f *Facts) string { return unless(f.Enforces(), "results are enforced nowhere") },
		},
		{
			ID: "TS107", Group: GroupTekton, Title: "results travel in a way that the add-on sees",
			Why: "a receipt covers results in termination messages, and in logs only if the add-on may read logs",
			Fix: "Let the add-on read logs with --read-sidecar-logs, or set results-from to " +
				"termination-message.",
			Run:  shared(checks.CheckFeatureFlags, status.CheckSidecarLogs),
			Skip: func(f *Facts) string { return unless(!f.backend().Signs, "steps sign their results in either way") },
		},
		{
			ID: "TS108", Group: GroupTekton, Title: "Tekton Chains is there for the gate",
			Why:  "with --gate-chains, Chains signs only TaskRuns whose results are verified",
			Fix:  "Install Tekton Chains, or leave out --gate-chains.",
			Run:  checkChains,
			Skip: func(f *Facts) string { return unless(f.Settings.GateChains, "--gate-chains is not set") },
		},
	}
}

func unless(ok bool, reason string) string {
	if ok {
		return ""
	}
	return reason
}

func withoutTekton(f *Facts) string { return unless(f.Tekton.Err == nil, "Tekton was not found") }

// oldestTekton is the oldest long-term line that is tested.
const oldestTekton = "1.9.0"

func checkTektonVersion(_ context.Context, f *Facts) []status.Check {
	v := f.Tekton.Controller.Version
	switch {
	case v == "":
		return one(status.Check{
			Status: verify.Unknown, Message: "the Deployment of Tekton's controller has no version in its labels",
			Expected: "label app.kubernetes.io/version", Got: "none",
			Next: "kubectl get deployments,statefulsets -n " + f.Tekton.Namespace + " --show-labels",
		})
	case !parses(v) || older(v, oldestTekton):
		return one(status.Check{
			Status: verify.Warn, Expected: "v1.9 or later", Got: v,
			Message: "this version of Tekton is not tested", Next: "upgrade Tekton to one of its long-term releases",
		})
	}
	return pass("version %s", v)
}

var tektonConfigs = schema.GroupVersionResource{
	Group: "operator.tekton.dev", Version: "v1alpha1", Resource: "tektonconfigs",
}

// checkOperator looks for Tekton Operator.
func checkOperator(ctx context.Context, f *Facts) []status.Check {
	list, err := f.Clients.Dynamic.Resource(tektonConfigs).List(ctx, metav1.ListOptions{Limit: 10})
	switch {
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err) || err == nil && len(list.Items) == 0:
		return pass("Tekton Operator does not manage it")
	case err != nil:
		return unread("the TektonConfigs of Tekton Operator", err)
	}
	config := list.Items[0]
	found := []status.Check{{
		Status: verify.Note,
		Message: "Tekton Operator manages Tekton (TektonConfig " + config.GetName() + "). " +
			"enable changes nothing that it manages. Set Tekton's own switches in the TektonConfig, " +
			"not in ConfigMap feature-flags",
	}}
	disabled, _, _ := unstructured.NestedBool(config.Object, "spec", "pruner", "disabled")
	schedule, _, _ := unstructured.NestedString(config.Object, "spec", "pruner", "schedule")
	if !disabled && schedule != "" {
		found = append(found, status.Check{
			Status: verify.Note,
			Message: "its pruner deletes finished TaskRuns (schedule " + schedule + "). " +
				"The add-on records a TaskRun within seconds of its end; export those that an auditor needs " +
				"before they are deleted",
		})
	}
	return found
}

// chainsLabels are those of the releases of Tekton Chains.
const chainsLabels = "app.kubernetes.io/part-of=tekton-chains,app.kubernetes.io/component=controller"

// checkChains checks that Chains is there and runs.
func checkChains(ctx context.Context, f *Facts) []status.Check {
	list, err := f.Clients.Kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: chainsLabels})
	if err != nil {
		return unread("the Deployments of all namespaces", err)
	}
	if len(list.Items) == 0 {
		return one(status.Check{
			Status: verify.Fail, Expected: "a Deployment with the labels " + chainsLabels, Got: "none",
			Message: "the gate has nothing to hold: Tekton Chains was not found",
			Next:    "install Tekton Chains, or leave out --gate-chains",
		})
	}
	if d := list.Items[0]; d.Status.AvailableReplicas == 0 {
		return one(status.Check{
			Status: verify.Warn, Message: "Tekton Chains does not run: no replica is available",
			Next: "kubectl describe deployment -n " + d.Namespace + " " + d.Name,
		})
	}
	return pass("Tekton Chains runs in namespace %s", list.Items[0].Namespace)
}
