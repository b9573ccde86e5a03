// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// CheckDelivery checks for namespaces in which pods do not get the signer as the settings ask for it.
func CheckDelivery(ctx context.Context, c *Cluster) []status.Check {
	list, err := c.Clients.Kube.CoreV1().ConfigMaps(manifests.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: manifests.Selector})
	if err != nil {
		what := "the ConfigMaps of namespace " + manifests.Namespace
		return one(Unreadable(status.PartAddOn, status.CheckDelivery, what, err))
	}
	for i := range list.Items {
		if list.Items[i].Name == delivery.ConfigMapName {
			return exceptions{c, delivery.Parse(list.Items[i].Data)}.check()
		}
	}
	return nil // checkObjects reports that it is missing
}

// exceptions are the namespaces that the add-on has recorded as exceptions.
type exceptions struct {
	*Cluster
	table delivery.Table
}

func (x exceptions) check() []status.Check {
	var checks []status.Check
	for _, problem := range x.table.Unreadable() {
		checks = append(checks, status.Check{
			Part: status.PartAddOn, ID: status.CheckDelivery, Status: verify.Warn,
			Object:  own("", "ConfigMap", delivery.ConfigMapName),
			Message: "not read, and not acted upon: " + problem,
			Next:    "remove the key from the ConfigMap: the add-on writes it anew",
		})
	}
	for _, ns := range x.Namespaces.List {
		if e, ok := x.of(ns); ok {
			checks = append(checks, x.report(ns, e))
			continue
		}
		checks = append(checks, x.ofTaskRuns(ns)...)
	}
	if len(checks) == 0 && x.Listed() {
		return one(pass(status.PartAddOn, status.CheckDelivery, "no namespace is known to refuse the signer"))
	}
	return checks
}

// ofTaskRuns reports the exceptions of single TaskRuns in a namespace, of which the add-on keeps those of the last
// minutes.
func (x exceptions) ofTaskRuns(ns Namespace) []status.Check {
	var found []delivery.Entry
	for _, e := range x.table.Entries() {
		if e.Source == delivery.Once && e.Namespace == ns.Name {
			found = append(found, e)
		}
	}
	if len(found) == 0 || !ns.InScope || x.enforcesIn(ns) {
		return nil
	}
	return one(status.Check{
		Part: status.PartAddOn, ID: status.CheckDelivery, Status: verify.Warn,
		Object:   &status.Object{Kind: "Namespace", Name: ns.Name},
		Expected: "every pod to start with the signer", Got: found[0].Reason,
		Message: fmt.Sprintf("TaskRuns that ran unsigned in the last minutes, because their pods did not start with "+
			"the signer: %d", len(found)),
		Next: "make the CSI driver work on node " + found[0].Node + "; if it does, somebody makes such events: see who can " +
			"create events in that namespace (docs/operations.md)",
	})
}

// of returns the exception that applies to a namespace in scope, with the signer's image of the add-on.
func (x exceptions) of(ns Namespace) (delivery.Entry, bool) {
	if x.AddOn.Deployment == nil || !ns.InScope {
		return delivery.Entry{}, false
	}
	e, ok := x.table.For(ns.Name, x.AddOn.env(manifests.EnvSignerImage))
	// Where results are enforced, pods are given the signer all the same: checkPods finds those that hang.
	idle := e.Source != delivery.Trial && e.Delivery == delivery.None && x.enforcesIn(ns)
	return e, ok && !idle
}

func (x exceptions) enforcesIn(ns Namespace) bool {
	return x.Settings.EnforcementOf(ns.Labels) == settings.Enforce
}

// waysOut returns what pods with the signer do in a namespace, and what the user can do about it.
func (x exceptions) waysOut(source delivery.Source) (refused, wayOut string) {
	const leaveOut = ", or leave the namespace out of signing"
	again := " and run " + x.enableCommand() + " again" + leaveOut
	switch source {
	case delivery.Refusal:
		return "are refused", "have the policy admit pods of TaskRuns with the signer in them" + again
	case delivery.Start:
		return "do not start", "let the nodes pull the image (enable --pull-secret or --registry)" + again
	case delivery.Mount:
		return "do not start", "make the CSI driver work on that node, and pods there get the signer again within minutes" +
			leaveOut
	case delivery.Trial, delivery.Once: // it ends by itself
	}
	return "are refused", "have the policy admit image volumes and the image" + leaveOut
}

// report reports what is different in a namespace, and what the user can do about it.
func (x exceptions) report(ns Namespace, e delivery.Entry) status.Check {
	refused, wayOut := x.waysOut(e.Source)
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckDelivery, Status: verify.Warn,
		Object:   &status.Object{Kind: "Namespace", Name: ns.Name},
		Expected: "the signer, of image " + e.Image, Got: e.Reason,
		Message: fmt.Sprintf("since %s the signer gets there by %s, because pods %s otherwise",
			timeOf(e.Since), e.Delivery, refused),
		Next: wayOut + "; " + x.Options.Program + " enable --delivery " + string(e.Delivery) +
			" has it delivered so everywhere",
	}
	if e.Delivery != delivery.None {
		return check
	}
	check.Status, check.Next = verify.Fail, wayOut+" (docs/operations.md)"
	what := "TaskRuns run there unsigned"
	if x.enforcesIn(ns) {
		what = "no TaskRun runs there"
	}
	check.Message = fmt.Sprintf("since %s pods with the signer %s: %s", timeOf(e.Since), refused, what)
	return check
}
