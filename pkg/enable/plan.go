// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Clients are the two views of one API server that the package works with.
type Clients struct {
	Kube    kubeclient.Interface
	Dynamic dynamic.Interface
}

// Action says what becomes of an object.
type Action string

// The actions of a plan.
const (
	Create    Action = "create"
	Update    Action = "update"
	Delete    Action = "delete"
	Unchanged Action = "unchanged"
	Keep      Action = "keep" // disable leaves it in the cluster
	Lift      Action = "lift" // take the holds of the gate in front of Chains away
)

// Change is what a plan does to one object.
type Change struct {
	Action Action
	Object *unstructured.Unstructured // the wanted state; for Delete the kind, the namespace and the name
	Keys   []KeyChange                // of ConfigMap config-signing
	Note   string                     // for people; empty: the action says it all
}

// Plan is a list of changes in the order in which they are made.
type Plan struct {
	Environment Environment
	Settings    settings.Settings
	SignerImage string // of a plan to enable: that pods will get
	Changes     []Change
	Purge       bool     // of a plan to disable: the trust history goes, too
	Warnings    []string // of a plan to enable: what whoever agrees to it should know, a sentence each
	Obstacles   []string // of a plan to enable: why it must not be carried out
}

// Empty reports whether the plan changes nothing.
func (p Plan) Empty() bool {
	for _, c := range p.Changes {
		if c.Action != Unchanged && c.Action != Keep {
			return false
		}
	}
	return true
}

// Count returns how many objects have the action.
func (p Plan) Count(action Action) int {
	n := 0
	for _, c := range p.Changes {
		if c.Action == action {
			n++
		}
	}
	return n
}

// Request is what the user wants enabled.
type Request struct {
	Settings settings.Settings
	Keep     []string // keys of the settings that stay as the cluster has them, because the user did not name them
	Registry string   // prefix of the images
	Version  string   // tag of the images
}

// Desired returns the objects of the installation that r asks for, in the order in which they are applied.
func (r Request) Desired(env Environment) ([]*unstructured.Unstructured, error) {
	if err := backends.Check(r.Settings); err != nil {
		return nil, err
	}
	if _, err := settings.Parse(r.Settings.Data()); err != nil {
		return nil, err
	}
	if err := r.Settings.Scope.CheckReserved(settings.Reserved(env.TektonNamespace)); err != nil {
		return nil, err
	}
	objects, err := manifests.Render(r.options(env))
	if err != nil {
		return nil, err
	}
	desired := make([]*unstructured.Unstructured, len(objects))
	for i, object := range objects {
		if desired[i], err = toUnstructured(object); err != nil {
			return nil, err
		}
	}
	return desired, nil
}

func (r Request) options(env Environment) manifests.Options {
	return manifests.Options{
		TektonNamespace: env.TektonNamespace, TektonAccount: env.TektonAccount,
		Registry: r.Registry, Version: r.Version, Settings: r.Settings,
	}
}

// PlanEnable compares what r asks for with the cluster. It asks the API server to apply each object as a dry run, so that
// what is unchanged is the server's own opinion.
func PlanEnable(ctx context.Context, c Clients, env Environment, r Request) (Plan, error) {
	if err := c.checkNotTerminating(ctx); err != nil {
		return Plan{}, err
	}
	live, err := c.liveSettings(ctx, env.TektonNamespace)
	if err != nil {
		return Plan{}, err
	}
	before, unread := current(live)
	if err := r.checkNamed(unread); err != nil {
		return Plan{}, err
	}
	r.keep(before)
	if err := r.checkConsent(before); err != nil {
		return Plan{}, err
	}
	desired, err := r.Desired(env)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Environment: env, Settings: r.Settings, SignerImage: r.options(env).SignerImage()}
	if plan.Warnings, err = c.warnings(ctx, plan, before); err != nil {
		return Plan{}, err
	}
	if plan.Obstacles, err = c.obstacles(ctx, plan); err != nil {
		return Plan{}, err
	}
	for _, object := range desired {
		var change Change
		if isSettings(object) {
			change, err = planSettings(live, env.TektonNamespace, r.Settings)
		} else {
			change, err = c.planApply(ctx, object)
		}
		if err != nil {
			return Plan{}, err
		}
		if isGateRole(object) {
			lifts, err := c.planGate(ctx, r.Settings.GateChains, &change)
			if err != nil {
				return Plan{}, err
			}
			plan.Changes = append(plan.Changes, lifts...)
		}
		plan.Changes = append(plan.Changes, change)
	}
	obsolete, err := c.planObsolete(ctx, r.options(env))
	if err != nil {
		return Plan{}, err
	}
	plan.Changes = append(plan.Changes, obsolete...)
	return plan, nil
}

// planObsolete deletes what earlier versions installed and this one does not have, and what only another backend needs.
func (c Clients) planObsolete(ctx context.Context, o manifests.Options) ([]Change, error) {
	notes := map[*unstructured.Unstructured]string{}
	var objects []*unstructured.Unstructured
	for _, name := range manifests.ObsoleteBindings() {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding"))
		object.SetName(name)
		objects, notes[object] = append(objects, object), "of an earlier version"
	}
	unneeded, err := manifests.Unneeded(o)
	if err != nil {
		return nil, err
	}
	for _, typed := range unneeded {
		object, err := toUnstructured(typed)
		if err != nil {
			return nil, err
		}
		objects, notes[object] = append(objects, object), "backend "+string(o.Settings.Backend)+" does without"
	}
	var changes []Change
	for _, object := range objects {
		live, err := resourceOf(c.Dynamic, object).Get(ctx, object.GetName(), metav1.GetOptions{})
		switch {
		case err == nil:
			changes = append(changes, Change{Action: Delete, Object: live, Note: notes[object]})
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("reading %s: %w", describe(object), err)
		}
	}
	return changes, nil
}

// checkNotTerminating is an error while an earlier disable is still at work.
func (c Clients) checkNotTerminating(ctx context.Context) error {
	ns, err := c.Kube.CoreV1().Namespaces().Get(ctx, manifests.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading namespace %s: %w", manifests.Namespace, err)
	}
	if ns.DeletionTimestamp != nil {
		return fmt.Errorf("namespace %s is being deleted: wait until it is gone, or run disable again", manifests.Namespace)
	}
	return nil
}

// liveSettings returns ConfigMap config-signing, or nil if there is none.
func (c Clients) liveSettings(ctx context.Context, namespace string) (*corev1.ConfigMap, error) {
	cm, err := c.Kube.CoreV1().ConfigMaps(namespace).Get(ctx, settings.ConfigMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, settings.ConfigMapName, err)
	}
	return cm, nil
}

func isSettings(u *unstructured.Unstructured) bool {
	return u.GetKind() == "ConfigMap" && u.GetName() == settings.ConfigMapName
}

func planSettings(live *corev1.ConfigMap, namespace string, wanted settings.Settings) (Change, error) {
	merged, err := mergeSettings(live, namespace, wanted)
	if err != nil {
		return Change{}, err
	}
	merged.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	object, err := toUnstructured(merged)
	if err != nil {
		return Change{}, err
	}
	change := Change{Action: Update, Object: object, Keys: keyChanges(live, merged)}
	switch {
	case live == nil:
		change.Action = Create
	case len(change.Keys) == 0 && live.Annotations[annotationPrevious] != "":
		change.Action = Unchanged
	}
	return change, nil
}

// planApply decides what applying object would do.
func (c Clients) planApply(ctx context.Context, object *unstructured.Unstructured) (Change, error) {
	live, err := resourceOf(c.Dynamic, object).Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Change{Action: Create, Object: uncalled(object)}, nil
	}
	if err != nil {
		return Change{}, fmt.Errorf("reading %s: %w", describe(object), err)
	}
	wanted := object
	if isReplaced(object) {
		wanted = replacing(live, object)
	}
	after, err := c.write(ctx, wanted, true)
	if err != nil {
		return Change{}, fmt.Errorf("comparing %s with the cluster: %w", describe(object), err)
	}
	if sameContent(live, after) {
		return Change{Action: Unchanged, Object: wanted}, nil
	}
	return Change{Action: Update, Object: wanted}, nil
}

// isReplaced reports whether an object is a policy, the binding of one or a webhook configuration. These are replaced as a
// whole: a server-side apply would keep what somebody else added, and one condition more can switch any of them off.
func isReplaced(u *unstructured.Unstructured) bool {
	return strings.HasPrefix(u.GetKind(), "ValidatingAdmissionPolicy") || isWebhooks(u)
}

// replacing returns live with the labels and the whole content of wanted.
func replacing(live, wanted *unstructured.Unstructured) *unstructured.Unstructured {
	object, source := live.DeepCopy(), wanted.DeepCopy()
	object.SetLabels(wanted.GetLabels())
	for _, field := range []string{"spec", "webhooks"} {
		if content, ok := source.Object[field]; ok {
			object.Object[field] = content
		}
	}
	if isWebhooks(wanted) {
		setAuthority(object, authorityOf(live))
	}
	return object
}

// write creates or changes an object. One that bears the version of the state it replaces is sent as a whole, and refused
// if somebody else has changed it since. Any other is applied: the objects are tekton-sign's own, so that it takes over
// fields that others set, which plan and prompt have shown as an update.
func (c Clients) write(ctx context.Context, object *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	var dry []string
	if dryRun {
		dry = []string{metav1.DryRunAll}
	}
	client := resourceOf(c.Dynamic, object)
	if object.GetResourceVersion() != "" {
		return client.Update(ctx, object, metav1.UpdateOptions{FieldManager: FieldManager, DryRun: dry})
	}
	return client.Apply(ctx, object.GetName(), object,
		metav1.ApplyOptions{FieldManager: FieldManager, Force: true, DryRun: dry})
}
