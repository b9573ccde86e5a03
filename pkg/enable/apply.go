// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
)

// Progress is called, with one line each time, for what happens while a plan is applied.
type Progress func(format string, args ...any)

// Apply makes the changes of the plan in their order, after pods have shown that nodes get the signer. Each change
// can be repeated. The webhooks come last, and only when the add-on is available and the namespaces in scope have
// their grant: no pod is wrapped before it could sign.
func (p Plan) Apply(ctx context.Context, c Clients, timeout time.Duration, progress Progress) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	healed, err := p.ProveSigner(ctx, c, progress)
	if err != nil {
		return err
	}
	w := writer{Clients: c, progress: progress}
	var webhooks []Change
	for _, change := range p.Changes {
		if object.IsWebhooks(change.Object) {
			webhooks = append(webhooks, change)
			continue
		}
		if err := w.make(ctx, change); err != nil {
			return err
		}
	}
	if err := await(ctx, serving{c, p}.beforeWebhooks(), progress); err != nil {
		return err
	}
	if err := heal(ctx, c.Kube, healed, progress); err != nil {
		return err
	}
	if err := p.callAddOn(ctx, w, webhooks); err != nil {
		return w.withdraw(ctx, webhooks, err)
	}
	// The user may have changed what was in the way before.
	if err := delivery.AskForTrials(ctx, c.Kube, FieldManager, time.Now()); err != nil {
		progress("%v", err)
	}
	return nil
}

// heal makes the add-on give pods the signer again in namespaces that it has left alone since a pod did not start
// there.
func heal(ctx context.Context, client kubeclient.Interface, namespaces []string, progress Progress) error {
	if len(namespaces) == 0 {
		return nil
	}
	if err := delivery.Forget(ctx, client, delivery.Start, namespaces, FieldManager); err != nil {
		return err
	}
	progress("pods are given the signer again: namespaces %s", names.Few(namespaces))
	return nil
}

// callAddOn makes the API server call the add-on, and waits until it signs.
func (p Plan) callAddOn(ctx context.Context, w writer, webhooks []Change) error {
	for _, change := range webhooks {
		if err := w.makeWebhooks(ctx, change); err != nil {
			return err
		}
	}
	return await(ctx, serving{w.Clients, p}.afterWebhooks(), w.progress)
}

// withdrawPatience bounds the undoing, whose context has often ended.
const withdrawPatience = 30 * time.Second

// withdraw deletes the webhook configurations that were created in vain: every TaskRun would wait for an add-on that
// does not answer. Those that were there before stay: where results are enforced, nothing may run without them.
func (w writer) withdraw(ctx context.Context, webhooks []Change, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawPatience)
	defer cancel()
	var kept []string
	for _, change := range webhooks {
		if change.Action != Create {
			kept = append(kept, change.Object.GetName())
			continue
		}
		if err := w.delete(ctx, change.Object); err != nil {
			return errors.Join(cause, fmt.Errorf("removing %s again: %w", object.Describe(change.Object), err))
		}
		w.progress("removed %s again: no TaskRun waits for it", object.Describe(change.Object))
	}
	if len(kept) > 0 {
		return fmt.Errorf("%w; the webhooks were there before and stay. To run TaskRuns without signing: "+
			"kubectl delete mutatingwebhookconfiguration %s", cause, strings.Join(kept, " "))
	}
	return cause
}

// DryRun sends every change to the API server as a dry run. Objects in a namespace that the plan creates cannot be
// tried: progress names them.
func (p Plan) DryRun(ctx context.Context, c Clients, progress Progress) error {
	w := writer{Clients: c, dryRun: true, progress: progress}
	created := map[string]bool{}
	for _, change := range p.Changes {
		if change.Action == Create && change.Object.GetKind() == "Namespace" {
			created[change.Object.GetName()] = true
		}
	}
	for _, change := range p.Changes {
		if created[change.Object.GetNamespace()] {
			progress("not tried: %s, because its namespace does not exist yet", object.Describe(change.Object))
			continue
		}
		if err := w.make(ctx, change); err != nil {
			return err
		}
	}
	return nil
}
