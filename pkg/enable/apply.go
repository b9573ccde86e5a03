// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// Progress is told, one line each, what happens while a plan is applied.
type Progress func(format string, args ...any)

// Apply makes the changes of the plan in their order, each of which can be repeated, once nodes were seen to get the signer. The webhooks come last, and only once
// the add-on is available and the namespaces in scope have their grant: no pod is wrapped before it could sign.
func (p Plan) Apply(ctx context.Context, c Clients, timeout time.Duration, progress Progress) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	healed, err := p.proveSigner(ctx, c, progress)
	if err != nil {
		return err
	}
	var webhooks []Change
	for _, change := range p.Changes {
		if isWebhooks(change.Object) {
			webhooks = append(webhooks, change)
			continue
		}
		if err := c.make(ctx, change, false, progress); err != nil {
			return err
		}
	}
	if err := c.await(ctx, p.beforeWebhooks(c), progress); err != nil {
		return err
	}
	if err := c.heal(ctx, healed, progress); err != nil {
		return err
	}
	if err := p.callAddOn(ctx, c, webhooks, progress); err != nil {
		return c.withdraw(ctx, webhooks, err, progress)
	}
	// Whoever enables again may have changed what was in the way.
	if err := delivery.AskForTrials(ctx, c.Kube, FieldManager, time.Now()); err != nil {
		progress("%v", err)
	}
	return nil
}

// heal has the add-on give pods the signer again in namespaces that it has left alone since one did not start there.
func (c Clients) heal(ctx context.Context, namespaces []string, progress Progress) error {
	if len(namespaces) == 0 {
		return nil
	}
	if err := delivery.Forget(ctx, c.Kube, delivery.Start, namespaces, FieldManager); err != nil {
		return err
	}
	progress("pods are given the signer again: namespaces %s", fewOf(namespaces))
	return nil
}

// callAddOn points the API server to the add-on and waits until it signs.
func (p Plan) callAddOn(ctx context.Context, c Clients, webhooks []Change, progress Progress) error {
	for _, change := range webhooks {
		if err := c.makeWebhooks(ctx, change, progress); err != nil {
			return err
		}
	}
	return c.await(ctx, p.afterWebhooks(c), progress)
}

// withdrawPatience bounds the undoing, whose context has often ended.
const withdrawPatience = 30 * time.Second

// withdraw deletes the webhook configurations that were made for nothing: every TaskRun would wait for an add-on that does not
// answer. Those that were there before stay: where results are enforced, nothing may run without them.
func (c Clients) withdraw(ctx context.Context, webhooks []Change, cause error, progress Progress) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawPatience)
	defer cancel()
	var kept []string
	for _, change := range webhooks {
		if change.Action != Create {
			kept = append(kept, change.Object.GetName())
			continue
		}
		if err := c.delete(ctx, change.Object, false); err != nil {
			return errors.Join(cause, fmt.Errorf("removing %s again: %w", describe(change.Object), err))
		}
		progress("removed %s again: no TaskRun waits for it", describe(change.Object))
	}
	if len(kept) > 0 {
		return fmt.Errorf("%w; the webhooks were there before and stay. To run TaskRuns without signing: "+
			"kubectl delete mutatingwebhookconfiguration %s", cause, strings.Join(kept, " "))
	}
	return cause
}

// DryRun sends every change to the API server as a dry run. Objects in a namespace that the plan creates cannot be tried:
// they are named to progress.
func (p Plan) DryRun(ctx context.Context, c Clients, progress Progress) error {
	created := map[string]bool{}
	for _, change := range p.Changes {
		if change.Action == Create && change.Object.GetKind() == "Namespace" {
			created[change.Object.GetName()] = true
		}
	}
	for _, change := range p.Changes {
		if created[change.Object.GetNamespace()] {
			progress("not tried: %s, because its namespace does not exist yet", describe(change.Object))
			continue
		}
		if err := c.make(ctx, change, true, progress); err != nil {
			return err
		}
	}
	return nil
}

// make carries out one change. A conflict with a concurrent writer is an error: what the user confirmed is no longer true.
func (c Clients) make(ctx context.Context, change Change, dryRun bool, progress Progress) error {
	suffix := ""
	if dryRun {
		suffix = " (server dry run)"
	}
	var err error
	switch change.Action {
	case Unchanged, Keep:
		return nil
	case Delete:
		err = c.delete(ctx, change.Object, dryRun)
	case Lift:
		err = c.lift(ctx, change.Object, dryRun)
	case Create, Update:
		err = c.writePatiently(ctx, change.Object, dryRun)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", change.Action, describe(change.Object), err)
	}
	progress("%s %s%s", pastTense(change.Action), describe(change.Object), suffix)
	return nil
}

// settingsPatience bounds how long a policy of before may refuse settings of now.
const settingsPatience = 30 * time.Second

// writePatiently writes an object. Settings that the policy for them refuses are tried again for some time: an API server goes
// by an older policy for a while after it was replaced or deleted.
func (c Clients) writePatiently(ctx context.Context, object *unstructured.Unstructured, dryRun bool) error {
	patience, cancel := context.WithTimeout(ctx, settingsPatience)
	defer cancel()
	for {
		_, err := c.write(ctx, object, dryRun)
		if err == nil || dryRun || !isSettings(object) || !refusedBy(err, manifests.SettingsGuard) {
			return err
		}
		select {
		case <-patience.Done():
			return err
		case <-time.After(pollInterval):
		}
	}
}

// refusedBy reports whether one of our policies refused a request.
func refusedBy(err error, policy string) bool {
	return strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy+"'")
}

func pastTense(a Action) string {
	switch a {
	case Create:
		return "created"
	case Update:
		return "updated"
	case Delete:
		return "deleted"
	case Lift:
		return "lifted the holds of"
	}
	return string(a)
}

// delete removes an object. One that is gone already is no error.
func (c Clients) delete(ctx context.Context, object *unstructured.Unstructured, dryRun bool) error {
	foreground := metav1.DeletePropagationForeground
	var dry []string
	if dryRun {
		dry = []string{metav1.DryRunAll}
	}
	err := resourceOf(c.Dynamic, object).Delete(ctx, object.GetName(),
		metav1.DeleteOptions{PropagationPolicy: &foreground, DryRun: dry, Preconditions: asPlanned(object)})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// asPlanned keeps settings that somebody has changed since the plan was made from being deleted: there may be something of the
// user's in them now.
func asPlanned(object *unstructured.Unstructured) *metav1.Preconditions {
	version := object.GetResourceVersion()
	if !isSettings(object) || version == "" {
		return nil
	}
	return &metav1.Preconditions{ResourceVersion: &version}
}

// condition is something to wait for.
type condition struct {
	name string
	// met reports whether it holds, and in a few words what is missing, or all that was found out in its place. An error ends the waiting.
	met func(ctx context.Context) (done bool, missing string, err error)
	// explained: what is missing says what to do about it.
	explained bool
}

func (c condition) advice() string {
	if c.explained {
		return ""
	}
	return "look at namespace " + manifests.Namespace + ", then "
}

// pollInterval is the pause between two looks at a condition.
const pollInterval = 500 * time.Millisecond

// await waits for each condition in turn until ctx ends.
func (c Clients) await(ctx context.Context, conditions []condition, progress Progress) error {
	for _, cond := range conditions {
		if err := awaitOne(ctx, cond, progress); err != nil {
			return err
		}
	}
	return nil
}

func awaitOne(ctx context.Context, cond condition, progress Progress) error {
	last := ""
	for {
		done, missing, err := cond.met(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("waiting until %s: %w", cond.name, err)
		case err == nil && done:
			progress("%s", cmp.Or(missing, cond.name))
			return nil
		case err == nil && missing != last && (last == "" || ctx.Err() == nil): // the last look may have been cut short
			progress("waiting until %s: %s", cond.name, missing)
			last = missing
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting until %s: %s; %srun the command again (it goes on where it stopped), "+
				"with a longer --timeout if need be", cond.name, last, cond.advice())
		case <-time.After(pollInterval):
		}
	}
}
