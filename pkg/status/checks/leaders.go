// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// leaderless is how old the last renewal of a Lease may be. A Lease lasts 15 seconds, and clocks may differ.
const leaderless = 2 * time.Minute

// checkLeaders checks whether a replica leads in each Deployment of the add-on.
func checkLeaders(ctx context.Context, c *Cluster) []status.Check {
	return runAll(ctx, c,
		leaderOf(manifests.Controller, "no replica records: late verdicts and records wait"),
		leaderOf(manifests.Keeper, "no keeper works: grants, certificates and what follows the settings wait"))
}

// leaderOf checks the Lease of a Deployment, which has its name. idle is the message if no replica leads.
func leaderOf(name, idle string) Checker {
	return func(ctx context.Context, c *Cluster) []status.Check { return checkLease(ctx, c, name, idle) }
}

func checkLease(ctx context.Context, c *Cluster, name, idle string) []status.Check {
	object := own("coordination.k8s.io", "Lease", name)
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckLeader, Status: verify.Fail, Object: object, Message: idle,
		Next: "kubectl logs -n " + manifests.Namespace + " deployment/" + name,
	}
	lease, err := c.Clients.Kube.CoordinationV1().Leases(manifests.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		check.Expected, check.Got = "a Lease", "none"
	case err != nil:
		return one(Unreadable(status.PartAddOn, status.CheckLeader, object.String(), err))
	case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil:
		check.Expected, check.Got = "a holder", "none"
	default:
		return checkRenewal(lease, c.Options.Now(), check)
	}
	return one(check)
}

// checkRenewal checks when the Lease was renewed, by the clock of the API server where that is known.
func checkRenewal(lease *coordinationv1.Lease, now time.Time, check status.Check) []status.Check {
	var checks []status.Check
	renewed := lease.Spec.RenewTime.Time
	if stored := storedAt(lease); !stored.IsZero() {
		checks = append(checks, checkClock(renewed.Sub(stored)))
		renewed = stored
	}
	if now.Sub(renewed) <= leaderless {
		return append(checks, pass(status.PartAddOn, status.CheckLeader, "%s", *lease.Spec.HolderIdentity))
	}
	check.Expected = "renewed less than " + leaderless.String() + " ago"
	check.Got = "renewed last at " + timeOf(renewed) + " by " + *lease.Spec.HolderIdentity
	return append(checks, check)
}

// storedAt returns when the API server last stored the object, by its own clock; zero if that is not recorded.
func storedAt(object metav1.Object) time.Time {
	var last time.Time
	for _, f := range object.GetManagedFields() {
		if f.Time != nil && f.Time.After(last) {
			last = f.Time.Time
		}
	}
	return last
}

// clockTolerance is how far the leader's clock may be from that of the API server, which stores whole seconds.
const clockTolerance = 30 * time.Second

// checkClock compares the clock of the leading replica, by which it renews the Lease, with that of the API server.
// Where it is too far behind, every token seems to come from the future.
func checkClock(ahead time.Duration) status.Check {
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckClock, Status: verify.Pass,
		Message: "the leader's clock is that of the API server",
	}
	if ahead.Abs() > clockTolerance {
		where := "ahead"
		if ahead < 0 {
			where = "behind"
		}
		check.Status, check.Message = verify.Warn, "the leader's clock is not that of the API server"
		check.Expected = "at most " + clockTolerance.String() + " apart"
		check.Got = ahead.Abs().Round(time.Second).String() + " " + where
		check.Next = "set the clocks of the nodes: kubectl get pods -n " + manifests.Namespace + " -o wide names them"
	}
	if ahead < -verify.DefaultClockSkew {
		check.Status = verify.Fail
		check.Message = "the leader's clock is behind: by it, tokens are from the future, and no TaskRun is judged"
	}
	return check
}
