// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// exceptions names the namespaces to which the signer does not get as the settings ask.
func (l *look) exceptions(ctx context.Context) {
	if !l.known || !l.deployment.found {
		return // said already
	}
	object := own("", "ConfigMap", delivery.ConfigMapName)
	table, err := delivery.Read(ctx, l.Kube)
	if err != nil {
		l.unreadable(status.PartAddOn, status.CheckDelivery, object.String(), err)
		return
	}
	for _, unreadable := range table.Unreadable() {
		l.add(status.Check{
			Part: status.PartAddOn, ID: status.CheckDelivery, Status: verify.Warn, Object: object,
			Message: "what the add-on does not read: " + unreadable, Next: fmt.Sprintf("remove the key from ConfigMap %s/%s", manifests.Namespace, delivery.ConfigMapName),
		})
	}
	shown, more := 0, 0
	for _, ns := range l.namespaces {
		e, ok := table.For(ns.name, l.status.AddOn.SignerImage)
		enforced := l.settings.EnforcementOf(ns.labels) == settings.Enforce
		if !ok || !ns.inScope || e.Source == delivery.Start && enforced { // pods are given the signer all the same
			continue
		}
		if shown == maxListed {
			more++
			continue
		}
		shown++
		l.add(l.exception(e, enforced))
	}
	if more > 0 {
		l.note(status.PartAddOn, status.CheckDelivery, "%d more namespaces: see ConfigMap %s/%s", more, manifests.Namespace, delivery.ConfigMapName)
	}
}

// exception says what the signer does in a namespace instead, since when and why, and how it ends.
func (l *look) exception(e delivery.Entry, enforced bool) status.Check {
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckDelivery, Status: verify.Fail, Object: &status.Object{Kind: "Namespace", Name: e.Namespace},
		Expected: "delivery " + string(l.settings.Delivery), Got: string(e.Delivery) + ": " + e.Reason,
	}
	since := "since " + e.Since.UTC().Format(time.RFC3339)
	switch {
	case e.Delivery != delivery.None:
		check.Status, check.Message = verify.Warn, "the signer is delivered otherwise than the settings ask, "+since
	case enforced:
		check.Message = "TaskRuns are refused, because their pods cannot be given the signer, " + since
	default:
		check.Message = "TaskRuns run unsigned, " + since
	}
	if e.Source == delivery.Start {
		check.Message += ": a pod could not start because of the signer's image " + e.Image
		check.Next = "let nodes pull the image (enable --pull-secret or --registry), then run " + l.enable()
		return check
	}
	check.Next = "have the policy let the signer pass, or leave the namespace out (enable --namespaces or --namespace-selector)"
	return check
}
