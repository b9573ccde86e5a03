// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func rightsChecks() []Check {
	return []Check{
		{
			ID: "TS201", Group: GroupRights, Title: "enable can make its plan",
			Why: "it compares what the add-on needs with what the cluster has, and refuses settings that contradict each other",
			Fix: "The finding shows what contradicts. If a permission is missing, let a cluster " +
				"administrator run preflight.",
			Run: checkPlan,
		},
		{
			ID: "TS202", Group: GroupRights, Title: "you have the permissions that enable needs",
			Why: "without them enable stops before it changes anything",
			Fix: "Let a cluster administrator run enable, or apply its manifests (--dry-run=client -o yaml) " +
				"in your usual way.",
			Run: checkPermissions, Skip: withoutPlan,
		},
		{
			ID: "TS203", Group: GroupRights, Title: "the API server accepts what enable would apply",
			Why: "policies, quotas and other webhooks can refuse objects of the add-on",
			Fix: "Change the policy, webhook or quota that refuses the object. enable --dry-run=server shows " +
				"each one.",
			Run: checkDryRun, Skip: withoutPlan,
		},
		{
			ID: "TS204", Group: GroupRights, Title: "the settings are as strong as they can be",
			Why:  "weaker policies leave ways to imitate the pod of a TaskRun",
			Fix:  "Leave out --policies standard, or read in docs/threat-model.md what it gives up.",
			Run:  warned("nothing is weaker than it should be, or than before", enable.TopicWeaker),
			Skip: withoutPlan,
		},
		{
			ID: "TS205", Group: GroupRights, Title: "no account loses a right to request tokens",
			Why: "where results are signed, service accounts get signing tokens only, whatever RBAC allows them",
			Fix: "Exempt an account that needs other tokens: --exempt-service-account NAMESPACE/NAME. It " +
				"could then forge results of its own TaskRuns.",
			Run:  warned("no account loses one", enable.TopicTokens),
			Skip: func(f *Facts) string { return unless(f.backend().Tokens, "steps sign without tokens") },
		},
		{
			ID: "TS206", Group: GroupRights, Title: "no TaskRun that runs now will fail",
			Why:  "where results are enforced from now on, a TaskRun whose pod does not sign fails",
			Fix:  "Wait until these TaskRuns have ended, or start with --enforcement audit.",
			Run:  warned("none runs unsigned where results will be enforced", enable.TopicTaskRuns),
			Skip: withoutPlan,
		},
		{
			ID: "TS207", Group: GroupRights, Title: "nobody else can write what the kubelet reports",
			Why: "a receipt trusts pods/status, and so does the comparison of results with the pod",
			Fix: "Take update and patch of pods/status away from these accounts, or refuse receipts with " +
				"--minimum-assurance key-bound.",
			Run: shared(checks.CheckPodStatus, status.CheckPodStatus),
		},
	}
}

func withoutPlan(f *Facts) string {
	return unless(f.PlanErr == nil, "enable cannot make its plan (TS201)")
}

func checkPlan(_ context.Context, f *Facts) []status.Check {
	switch err := f.PlanErr; {
	case err == nil && f.Plan.Empty():
		return pass("everything is in place already")
	case err == nil:
		return pass("%s", f.Plan.Summary())
	case enable.IsForbidden(err):
		return unread("everything that enable compares", err)
	default:
		return one(status.Check{Status: verify.Fail, Message: err.Error(), Next: f.Enable + " --dry-run=server"})
	}
}

func checkPermissions(ctx context.Context, f *Facts) []status.Check {
	err := f.Plan.CheckPermissions(ctx, f.Clients)
	switch {
	case err == nil:
		return pass("you may make every change of the plan")
	case enable.IsForbidden(err):
		return one(status.Check{
			Status: verify.Fail, Message: err.Error(),
			Next: "let a cluster administrator run " + f.Enable + ", or apply the manifests of " + f.Enable +
				" --dry-run=client -o yaml",
		})
	}
	return unread("your permissions", err)
}

func checkDryRun(ctx context.Context, f *Facts) []status.Check {
	if err := f.Plan.DryRun(ctx, f.Clients, func(string, ...any) {}); err != nil {
		return one(status.Check{Status: verify.Fail, Message: err.Error(), Next: f.Enable + " --dry-run=server"})
	}
	return pass("a dry run of every object that can be tried was accepted")
}

// warned returns the check that shows what the plan warns of.
func warned(fine string, topic enable.Topic) func(context.Context, *Facts) []status.Check {
	return func(_ context.Context, f *Facts) []status.Check {
		var found []status.Check
		for _, w := range f.Plan.Warnings {
			if w.Topic == topic {
				found = append(found, status.Check{Status: verify.Warn, Message: w.Text})
			}
		}
		if len(found) == 0 {
			return pass("%s", fine)
		}
		return found
	}
}

func addOnChecks() []Check {
	return []Check{
		{
			ID: "TS301", Group: GroupAddOn, Title: "the namespace of the add-on is free, or the add-on's",
			Why: "enable installs the add-on in namespace " + manifests.Namespace,
			Fix: "Wait until the namespace is gone, or run disable again. If the namespace is somebody " +
				"else's, move what is in it.",
			Run: checkNamespace,
		},
		{
			ID: "TS302", Group: GroupAddOn, Title: "the API server reaches the webhooks",
			Why: "a firewall between control plane and nodes often drops their port; then nothing is signed or verified",
			Fix: "Open TCP port 8443 of the pods in namespace tekton-sign for the API server. In a private " +
				"cluster of GKE or EKS this is a firewall rule or a security group.",
			Run: checkReach,
			Skip: func(f *Facts) string {
				return unless(f.AddOn.Deployment != nil,
					"the add-on is not installed; enable tests this, and removes the webhooks again if they are out of reach")
			},
		},
	}
}

func checkNamespace(ctx context.Context, f *Facts) []status.Check {
	ns, err := f.Clients.Kube.CoreV1().Namespaces().Get(ctx, manifests.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return pass("namespace %s does not exist yet", manifests.Namespace)
	case err != nil:
		return unread("namespace "+manifests.Namespace, err)
	case ns.DeletionTimestamp != nil:
		return one(status.Check{
			Status: verify.Fail, Message: "namespace " + manifests.Namespace + " is being deleted",
			Next: "kubectl wait --for=delete namespace/" + manifests.Namespace + " --timeout=5m",
		})
	case f.AddOn.Deployment == nil && f.AddOn.Err == nil && ns.Labels[manifests.LabelPartOf] == "":
		return one(status.Check{
			Status:  verify.Warn,
			Message: "namespace " + manifests.Namespace + " exists and is not the add-on's: enable would use it",
			Next:    "check what is in it: kubectl get all -n " + manifests.Namespace,
		})
	}
	return pass("namespace %s is the add-on's", manifests.Namespace)
}

func checkReach(ctx context.Context, f *Facts) []status.Check {
	if reason := enable.Unreached(ctx, f.Clients.Kube); reason != "" {
		return one(status.Check{Status: verify.Fail, Message: reason, Next: enable.OpenPort()})
	}
	return pass("the add-on answers")
}
