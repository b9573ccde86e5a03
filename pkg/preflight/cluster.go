// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Answers is the check that the API server answers.
const Answers ID = "TS000"

func clusterChecks() []Check {
	return []Check{
		{
			ID: Answers, Group: GroupCluster, Title: "the API server answers",
			Why: "all other checks ask it",
			Fix: "Check the context of your kubeconfig, and that you are logged in.",
			Run: func(_ context.Context, f *Facts) []status.Check { return pass("Kubernetes %s", f.Kubernetes) },
		},
		{
			ID: "TS001", Group: GroupCluster, Title: "the cluster has admission policies",
			Why: "ValidatingAdmissionPolicies restrict who can request signing tokens and who can imitate a TaskRun's pod",
			Fix: "Upgrade the cluster to Kubernetes 1.30 or later.",
			Run: checkPolicies,
		},
		{
			ID: "TS002", Group: GroupCluster, Title: "the clocks of this computer and of the API server agree",
			Why: "signatures count only within the time of their TaskRun, and verify compares times with this computer's clock",
			Fix: "Synchronize the clocks of your computer and of the control plane with NTP.",
			Run: checkClock,
		},
		{
			ID: "TS003", Group: GroupCluster, Title: "nodes can run the signer",
			Why: "the signer is a Linux program for amd64 and arm64",
			Fix: "Add a Linux node on amd64 or arm64, or keep TaskRuns from nodes of other platforms by the " +
				"default pod template of Tekton. Backend receipt adds nothing to pods and runs everywhere.",
			Run: checkNodes, Skip: nothingInPods,
		},
	}
}

// nothingInPods is why checks of pods do not apply to a backend that leaves pods alone.
func nothingInPods(f *Facts) string {
	if backends.Injects(f.Settings.Settings) {
		return ""
	}
	return "backend " + string(f.Settings.Backend) + " adds nothing to pods"
}

func checkPolicies(_ context.Context, f *Facts) []status.Check {
	if err := enable.RequirePolicies(f.Clients.Kube, f.Kubernetes); err != nil {
		if enable.IsForbidden(err) {
			return unread("which resources the API server has", err)
		}
		return one(status.Check{
			Status: verify.Fail, Message: err.Error(), Expected: "Kubernetes 1.30 or later", Got: f.Kubernetes,
			Next: "upgrade the cluster to Kubernetes 1.30 or later",
		})
	}
	return pass("ValidatingAdmissionPolicies are served (Kubernetes %s)", f.Kubernetes)
}

// maxSkew is how far clocks may be apart. Tokens are read with a leeway of a minute.
const maxSkew = 30 * time.Second

// checkClock asks the API server who the user is, and takes the time from the answer.
func checkClock(ctx context.Context, f *Facts) []status.Check {
	before := f.Options.Now()
	review, err := f.Clients.Kube.AuthenticationV1().SelfSubjectReviews().Create(ctx,
		&authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return unread("the time of the API server", err)
	}
	at := review.CreationTimestamp.Time
	if at.IsZero() {
		return one(status.Check{Status: verify.Note, Message: "this API server does not report its time"})
	}
	// The time has no fractions of a second, and the answer takes some time.
	ahead, behind := at.Sub(f.Options.Now()), before.Sub(at.Add(time.Second))
	if skew := max(ahead, behind); skew > maxSkew {
		return one(status.Check{
			Status:   verify.Warn,
			Expected: fmt.Sprintf("a difference of at most %s", maxSkew), Got: skew.Round(time.Second).String(),
			Message: "the clock of this computer differs from the API server's", Next: "synchronize the clocks with NTP",
		})
	}
	return pass("the difference is less than %s", maxSkew)
}

// checkNodes checks that there are Linux nodes for ordinary pods, and that every platform has a signer.
func checkNodes(ctx context.Context, f *Facts) []status.Check {
	nodes, err := f.nodes(ctx)
	if err != nil {
		return unread("the nodes", err)
	}
	var linux, other, windows, old []string
	for _, n := range nodes {
		info := n.Status.NodeInfo
		switch {
		case info.OperatingSystem == string(corev1.Windows):
			windows = append(windows, n.Name)
		case info.Architecture != "amd64" && info.Architecture != "arm64":
			other = append(other, n.Name+" ("+info.Architecture+")")
		case older(info.KubeletVersion, "1.28.0"):
			old = append(old, n.Name+" ("+info.KubeletVersion+")")
		default:
			linux = append(linux, n.Name)
		}
	}
	var found []status.Check
	if len(linux) == 0 {
		found = append(found, status.Check{
			Status: verify.Fail, Expected: "a Linux node on amd64 or arm64", Got: "none",
			Message: "no node can run the signer", Next: "add a node, or use backend receipt, which adds nothing to pods",
		})
	}
	if len(other) > 0 {
		found = append(found, status.Check{
			Status: verify.Warn, Expected: "amd64 or arm64", Got: names.Few(other),
			Message: "pods with the signer do not start on some nodes",
			Next:    "keep TaskRuns from these nodes (default-pod-template in Tekton's ConfigMap config-defaults)",
		})
	}
	if len(old) > 0 {
		found = append(found, status.Check{
			Status: verify.Warn, Expected: "1.28 or later", Got: names.Few(old),
			Message: "some kubelets are older than those with which the signer is tested", Next: "upgrade these nodes",
		})
	}
	if len(windows) > 0 {
		found = append(found, status.Check{Status: verify.Note,
			Message: "TaskRuns on Windows nodes stay unsigned: " + names.Few(windows)})
	}
	if len(found) == 0 {
		return pass("nodes: %d", len(linux))
	}
	return found
}

func parses(v string) bool {
	_, err := version.ParseGeneric(v)
	return err == nil
}

// older reports whether a version is known and below another one.
func older(v, than string) bool {
	parsed, err := version.ParseGeneric(v)
	return err == nil && parsed.LessThan(version.MustParseGeneric(than))
}
