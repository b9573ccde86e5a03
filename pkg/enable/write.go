// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
)

// writer changes objects of the cluster, or tries to as a dry run.
type writer struct {
	Clients
	dryRun   bool
	progress Progress
}

// dry returns the option of a request that makes it a dry run.
func (w writer) dry() []string {
	if w.dryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// make makes one change. A conflict with a concurrent writer is an error: what the user has confirmed is no longer
// true.
func (w writer) make(ctx context.Context, change Change) error {
	suffix := ""
	if w.dryRun {
		suffix = " (server dry run)"
	}
	var err error
	switch change.Action {
	case Unchanged, Keep:
		return nil
	case Delete:
		err = w.delete(ctx, change.Object)
	case Lift:
		err = w.lift(ctx, change.Object)
	case Create, Update:
		err = w.writePatiently(ctx, change.Object)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", change.Action, object.Describe(change.Object), err)
	}
	w.progress("%s %s%s", pastTense(change.Action), object.Describe(change.Object), suffix)
	return nil
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

// settingsPatience is how long an earlier policy may refuse new settings.
const settingsPatience = 30 * time.Second

// writePatiently writes an object. It tries settings again for a while if the policy for them refuses them: an API
// server uses an older policy for a short time after that was replaced or deleted.
func (w writer) writePatiently(ctx context.Context, u *unstructured.Unstructured) error {
	patience, cancel := context.WithTimeout(ctx, settingsPatience)
	defer cancel()
	for {
		_, err := w.write(ctx, u)
		if err == nil || w.dryRun || !object.IsSettings(u) || !refusedBy(err, manifests.SettingsGuard) {
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

// write creates or changes an object. An object with a resource version replaces the state of that version, and is
// refused if somebody has changed it since. Any other object is applied. Objects of an installation belong to
// tekton-sign, so the apply takes over fields that others have set; plan and prompt have shown it as an update.
func (w writer) write(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	client := object.Client(w.Dynamic, u)
	if u.GetResourceVersion() != "" {
		return client.Update(ctx, u, metav1.UpdateOptions{FieldManager: FieldManager, DryRun: w.dry()})
	}
	return client.Apply(ctx, u.GetName(), u,
		metav1.ApplyOptions{FieldManager: FieldManager, Force: true, DryRun: w.dry()})
}

// delete removes an object. It is no error if the object is gone already.
func (w writer) delete(ctx context.Context, u *unstructured.Unstructured) error {
	foreground := metav1.DeletePropagationForeground
	err := object.Client(w.Dynamic, u).Delete(ctx, u.GetName(),
		metav1.DeleteOptions{PropagationPolicy: &foreground, DryRun: w.dry(), Preconditions: asPlanned(u)})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// asPlanned prevents that settings are deleted which somebody has changed since the plan was made: they may hold
// something of the user's now.
func asPlanned(u *unstructured.Unstructured) *metav1.Preconditions {
	version := u.GetResourceVersion()
	if !object.IsSettings(u) || version == "" {
		return nil
	}
	return &metav1.Preconditions{ResourceVersion: &version}
}

// makeWebhooks makes the change of a webhook configuration. The add-on writes into it as well, and adds new
// namespaces at the same time: an update that conflicts is made again, on top of what is there.
func (w writer) makeWebhooks(ctx context.Context, change Change) error {
	for planned := change.Object; ; {
		err := w.make(ctx, change)
		if change.Action != Update || !apierrors.IsConflict(err) || ctx.Err() != nil {
			return err
		}
		live, err := object.Client(w.Dynamic, planned).Get(ctx, planned.GetName(), metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading %s: %w", object.Describe(planned), err)
		}
		change.Object = replacing(live, planned)
	}
}
