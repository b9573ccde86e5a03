// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// leftOver is what is in the cluster although signing is off.
type leftOver struct {
	harmful  []*unstructured.Unstructured // still in effect
	harmless []*unstructured.Unstructured
}

// checkLeftOver checks for objects of tekton-sign in a cluster in which signing is off. Webhooks without an add-on do
// harm there, and so do rights to request tokens.
func checkLeftOver(ctx context.Context, c *Cluster) []status.Check {
	var checks []status.Check
	var left leftOver
	for _, kind := range enable.RemovedKinds() {
		found, err := enable.FindOwn(ctx, c.Clients.Dynamic, kind)
		switch {
		case enable.IsForbidden(err):
			checks = append(checks, note(status.PartInstallation, status.CheckLeftOver,
				"you may not list every %s: none was looked for", kind.Kind))
			continue
		case err != nil:
			return append(checks, Unreadable(status.PartInstallation, status.CheckLeftOver, "what may be left over", err))
		}
		left.add(found, c.AddOn.Deployment != nil)
	}
	return append(checks, left.report(c.Options.Program+" disable")...)
}

// add sorts objects by the harm that they do. installed reports whether the add-on is there.
func (l *leftOver) add(found []*unstructured.Unstructured, installed bool) {
	for _, u := range found {
		switch {
		case u.GetKind() == "Namespace" && u.GetName() == manifests.Namespace: // the trust history may be kept in it
		case object.IsWebhooks(u) && !installed, u.GetKind() == "RoleBinding" && u.GetName() == manifests.TokenRequester:
			l.harmful = append(l.harmful, u)
		default:
			l.harmless = append(l.harmless, u)
		}
	}
}

func (l *leftOver) report(next string) []status.Check {
	var checks []status.Check
	check := status.Check{Part: status.PartInstallation, ID: status.CheckLeftOver, Next: next}
	if len(l.harmful) > 0 {
		harmful := check
		harmful.Status, harmful.Object = verify.Fail, nameOf(l.harmful[0])
		harmful.Message = "signing is off, but this is still in effect: " + described(l.harmful)
		checks = append(checks, harmful)
	}
	if len(l.harmless) > 0 {
		check.Status = verify.Warn
		check.Message = "signing is off, but this is still there: " + described(l.harmless)
		checks = append(checks, check)
	}
	return checks
}

func described(objects []*unstructured.Unstructured) string {
	list := make([]string, len(objects))
	for i, u := range objects {
		list[i] = object.Describe(u)
	}
	return names.Few(list)
}
