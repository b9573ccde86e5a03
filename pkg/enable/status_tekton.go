// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Tekton's own switches (its ConfigMap feature-flags).
const (
	featureFlags   = "feature-flags"
	flagSigner     = "enforce-nonfalsifiability"
	flagBackoff    = "enable-wait-exponential-backoff"
	signerOfTekton = "spire"
)

// lookAtTekton looks at those of Tekton's switches that signing and enforcement depend on.
func (l *look) lookAtTekton(ctx context.Context) {
	where := l.status.Environment.TektonNamespace
	object := status.Object{Kind: "ConfigMap", Namespace: where, Name: featureFlags}
	cm, err := l.Kube.CoreV1().ConfigMaps(where).Get(ctx, featureFlags, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return // the defaults: Tekton signs nothing, and does not wait
	}
	if err != nil {
		l.unreadable(status.PartTekton, status.CheckTektonSigner, object.String(), err)
		return
	}
	l.signerOfTekton(object, cm.Data[flagSigner])
	if l.known && l.enforces() {
		l.backoff(object, cm.Data[flagBackoff])
	}
}

// signerOfTekton looks whether Tekton's own entrypoint signs: every step of the cluster, with SPIRE and in format v1.
func (l *look) signerOfTekton(object status.Object, value string) {
	value = cmp.Or(value, "none")
	if value != signerOfTekton || l.settings.Backend == signing.BackendSPIRE {
		l.pass(status.PartTekton, status.CheckTektonSigner, "%s is %s: Tekton itself does not sign", flagSigner, value)
		return
	}
	l.add(status.Check{
		Part: status.PartTekton, ID: status.CheckTektonSigner, Status: verify.Warn, Object: &object, Field: "data." + flagSigner,
		Expected: "none", Got: value,
		Message: "steps are signed twice: Tekton itself signs with SPIRE, and no step starts without SPIRE's CSI volume",
		Next:    "kubectl patch configmap -n " + object.Namespace + " " + featureFlags + ` --type merge -p '{"data":{"` + flagSigner + `":"none"}}'`,
	})
}

// backoff looks whether Tekton tries again when the inject webhook cannot be called: where results are enforced, a TaskRun fails
// at once without.
func (l *look) backoff(object status.Object, value string) {
	if value == "true" {
		l.pass(status.PartTekton, status.CheckBackoff, "%s is true: TaskRuns outlast a short outage of the webhooks", flagBackoff)
		return
	}
	l.add(status.Check{
		Part: status.PartTekton, ID: status.CheckBackoff, Status: verify.Warn, Object: &object, Field: "data." + flagBackoff,
		Expected: "true", Got: cmp.Or(value, none),
		Message: "results are enforced: a TaskRun that starts while no webhook answers fails at once (PodCreationFailed)",
		Next:    "kubectl patch configmap -n " + object.Namespace + " " + featureFlags + ` --type merge -p '{"data":{"` + flagBackoff + `":"true"}}'`,
	})
}

// lookForOthers looks for other installations of Tekton, whose TaskRuns the policies and webhooks do not know.
func (l *look) lookForOthers(ctx context.Context) {
	if l.controller.Namespace == "" || !l.known {
		return // said already
	}
	others, err := otherControllers(ctx, l.Kube, l.controller)
	if err != nil && (len(others) == 0 || !IsForbidden(err)) {
		if !IsForbidden(err) {
			l.unreadable(status.PartTekton, status.CheckTekton, "the Deployments and StatefulSets of all namespaces", err)
		}
		return
	}
	if len(others) == 0 {
		return
	}
	conflicting, err := l.inScopeOf(ctx, l.settings, l.status.Environment.TektonNamespace, others)
	switch {
	case err != nil:
		l.unreadable(status.PartTekton, status.CheckTekton, "the namespaces of other controllers of Tekton", err)
	case len(conflicting) > 0:
		l.add(status.Check{
			Part: status.PartTekton, ID: status.CheckTekton, Status: verify.Fail,
			Message: conflict(l.status.Environment.TektonNamespace, conflicting), Next: conflictAdvice + ": " + l.enable(),
		})
	default:
		l.note(status.PartTekton, status.CheckTekton, "other controllers of Tekton run, for no namespace in scope: %s", namesOfControllers(others))
	}
}
