// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// historyAge is how long ago a key in use may have been seen last. The add-on records it about every hour.
const historyAge = 2 * time.Hour

// readHistory is the trust history as it was read.
type readHistory struct {
	sightings trust.History
	problems  []error // parts that are not used
	what      string  // what err is about
	err       error
}

// history returns the trust history. It is read once.
func (c *Cluster) history(ctx context.Context) (trust.History, error) {
	if c.keys == nil {
		c.keys = c.readHistory(ctx)
	}
	return c.keys.sightings, c.keys.err
}

func (c *Cluster) readHistory(ctx context.Context) *readHistory {
	core := c.Clients.Kube.CoreV1()
	list, err := core.ConfigMaps(manifests.Namespace).List(ctx, metav1.ListOptions{LabelSelector: manifests.Selector})
	if err != nil {
		return &readHistory{what: "the ConfigMaps of namespace " + manifests.Namespace, err: err}
	}
	cluster, err := core.Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return &readHistory{what: "namespace " + metav1.NamespaceSystem + ", whose UID names the cluster", err: err}
	}
	read := &readHistory{}
	read.sightings, read.problems = trust.ReadHistory(list.Items, string(cluster.UID))
	read.problems = append(read.problems, read.sightings.DropFuture(c.Options.Now())...)
	return read
}

// checkTrustHistory checks whether the add-on keeps the cluster's keys for later verification.
func checkTrustHistory(ctx context.Context, c *Cluster) []status.Check {
	keys, err := c.history(ctx)
	if err != nil {
		return one(Unreadable(status.PartAddOn, status.CheckTrustHistory, c.keys.what, err))
	}
	var checks []status.Check
	for _, problem := range c.keys.problems {
		checks = append(checks, status.Check{
			Part: status.PartAddOn, ID: status.CheckTrustHistory, Status: verify.Warn,
			Message: "a part of the trust history is not used: " + problem.Error(),
		})
	}
	return append(checks, checkKeys(keys, c.Options.Now()))
}

// checkKeys checks that the history has keys, and that the add-on has seen one of them recently.
func checkKeys(history trust.History, now time.Time) status.Check {
	last := lastSeen(history)
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckTrustHistory, Status: verify.Fail,
		Message: "the cluster's keys are not kept: what they signed cannot be verified once they are replaced",
		Next:    "kubectl logs -n " + manifests.Namespace + " deployment/" + manifests.Controller,
	}
	switch {
	case len(history) == 0:
		check.Expected, check.Got = "the keys of the cluster in ConfigMap "+trust.HistoryName(1), "none"
	case now.Sub(last) > historyAge:
		check.Expected = "keys seen less than " + historyAge.String() + " ago"
		check.Got = "last seen at " + timeOf(last)
	default:
		check.Status, check.Next = verify.Pass, ""
		check.Message = fmt.Sprintf("%d of the cluster's keys, last seen at %s", len(history), timeOf(last))
	}
	return check
}

// lastSeen returns when the add-on last saw a key of the history.
func lastSeen(history trust.History) time.Time {
	last := time.Time{}
	for _, sightings := range history {
		for _, s := range sightings {
			if s.LastSeen.After(last) {
				last = s.LastSeen.Time
			}
		}
	}
	return last
}

// checkKeptHistory notes that the trust history is kept while signing is off.
func checkKeptHistory(ctx context.Context, c *Cluster) []status.Check {
	kept, err := enable.TrustHistory(ctx, c.Clients.Kube)
	if err != nil || len(kept) == 0 {
		return nil
	}
	return one(note(status.PartAddOn, status.CheckTrustHistory,
		"kept: %d ConfigMap(s) in namespace %s", len(kept), manifests.Namespace))
}
