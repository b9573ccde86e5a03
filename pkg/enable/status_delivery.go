// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// deliveries looks for namespaces to which the signer does not get as the settings ask.
func (l *look) deliveries(ctx context.Context) {
	list, err := l.Kube.CoreV1().ConfigMaps(manifests.Namespace).List(ctx, metav1.ListOptions{LabelSelector: ours})
	if err != nil {
		l.unreadable(status.PartAddOn, status.CheckDelivery, "the ConfigMaps of namespace "+manifests.Namespace, err)
		return
	}
	for i := range list.Items {
		if list.Items[i].Name == delivery.ConfigMapName {
			l.exceptions(delivery.Parse(list.Items[i].Data))
			return
		}
	} // that it is missing is a check of its own
}

func (l *look) exceptions(table delivery.Table) {
	object := own("", "ConfigMap", delivery.ConfigMapName)
	for _, problem := range table.Unreadable() {
		l.add(status.Check{
			Part: status.PartAddOn, ID: status.CheckDelivery, Status: verify.Warn, Object: object,
			Message: "not read, and not acted upon: " + problem,
			Next:    "remove the key from the ConfigMap: the add-on writes it anew",
		})
	}
	n := 0
	for _, ns := range l.namespaces {
		if l.status.AddOn == nil {
			break // a check of its own
		}
		e, ok := table.For(ns.name, l.status.AddOn.SignerImage)
		// Where results are enforced, pods are given the signer all the same: those that hang are looked for.
		idle := e.Source != delivery.Trial && e.Delivery == delivery.None && l.settings.EnforcementOf(ns.labels) == settings.Enforce
		if ok && ns.inScope && !idle {
			n++
			l.add(l.exception(ns, e))
		}
	}
	if n == 0 && l.listed && len(table.Unreadable()) == 0 {
		l.pass(status.PartAddOn, status.CheckDelivery, "no namespace is known to refuse the signer")
	}
}

// exception says what is otherwise in a namespace, and the way out.
func (l *look) exception(ns knownNamespace, e delivery.Entry) status.Check {
	refused, wayOut := "are refused", "have the policy admit image volumes and the image, or leave the namespace out of signing"
	switch e.Source {
	case delivery.Trial: // it ends by itself
	case delivery.Refusal:
		wayOut = "have the policy admit pods of TaskRuns with the signer in them and run " + l.enable() + " again, or leave the namespace out of signing"
	case delivery.Start:
		refused = "do not start"
		wayOut = "let the nodes pull the image (enable --pull-secret or --registry) and run " + l.enable() + " again, or leave the namespace out of signing"
	}
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckDelivery, Status: verify.Warn,
		Object:   &status.Object{Kind: "Namespace", Name: ns.name},
		Expected: "the signer, of image " + e.Image, Got: e.Reason,
		Message: fmt.Sprintf("since %s the signer gets there by %s, because pods %s otherwise", timeOf(e.Since), e.Delivery, refused),
		Next:    wayOut + "; " + l.options.Program + " enable --delivery " + string(e.Delivery) + " has it delivered so everywhere",
	}
	if e.Delivery != delivery.None {
		return check
	}
	check.Status, check.Next = verify.Fail, wayOut+" (docs/operations.md)"
	what := "TaskRuns run there unsigned"
	if l.settings.EnforcementOf(ns.labels) == settings.Enforce {
		what = "no TaskRun runs there"
	}
	check.Message = fmt.Sprintf("since %s pods with the signer %s: %s", timeOf(e.Since), refused, what)
	return check
}
