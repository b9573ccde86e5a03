// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// PlanEnable compares what r asks for with the cluster. It asks the API server to apply each object as a dry run:
// whether an object is unchanged is the server's own answer.
func PlanEnable(ctx context.Context, c Clients, env Environment, r Request) (Plan, error) {
	if err := checkNotTerminating(ctx, c.Kube); err != nil {
		return Plan{}, err
	}
	live, err := LiveSettings(ctx, c.Kube, env.TektonNamespace)
	if err != nil {
		return Plan{}, err
	}
	before, err := r.keepFrom(live)
	if err != nil {
		return Plan{}, err
	}
	var missing string
	if r.Settings, missing, err = WithConfigMap(ctx, c.Kube, env.TektonNamespace, r.Settings); err != nil {
		return Plan{}, err
	}
	desired, err := r.Desired(env)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Environment: env, Settings: r.Settings, SignerImage: r.options(env).SignerImage()}
	if plan.Warnings, err = (warner{c, plan, before}).warnings(ctx); err != nil {
		return Plan{}, err
	}
	if plan.Obstacles, err = obstacles(ctx, c.Kube, plan); err != nil {
		return Plan{}, err
	}
	switch {
	case missing != "" && plan.Settings.TektonSigns():
		plan.Obstacles = append(plan.Obstacles, missing)
	case missing != "":
		plan.Warnings = append(plan.Warnings, Warning{TopicBackend, missing})
	}
	if err := plan.checkTektonsSigner(ctx, c.Kube); err != nil {
		return Plan{}, err
	}
	plan.add(backends.CheckObjects(ctx, c.Dynamic, plan.Settings))
	plan.Changes, err = planner{Clients: c, live: live, request: r}.changes(ctx, env, desired)
	return plan, err
}

// keepFrom takes over the cluster's settings that r is to keep, and returns the cluster's settings. It is an error
// where the result would be weaker than the user may expect.
func (r *Request) keepFrom(live *corev1.ConfigMap) (settings.Settings, error) {
	before, unread := current(live)
	if err := r.checkNamed(unread); err != nil {
		return settings.Settings{}, err
	}
	r.keep(before)
	return before, r.checkConsent(before)
}

// planner finds the changes of a plan to enable.
type planner struct {
	Clients
	live    *corev1.ConfigMap // config-signing, nil if there is none
	request Request
}

// changes returns the changes that make the desired objects, in their order, and delete obsolete ones.
func (p planner) changes(ctx context.Context, env Environment, desired []*unstructured.Unstructured) ([]Change, error) {
	var changes []Change
	for _, u := range desired {
		var change Change
		var err error
		if object.IsSettings(u) {
			change, err = planSettings(p.live, env.TektonNamespace, p.request.Settings)
		} else {
			change, err = p.planApply(ctx, u)
		}
		if err != nil {
			return nil, err
		}
		if isGateRole(u) {
			lifts, err := planGate(ctx, p.Kube, p.request.Settings.GateChains, &change)
			if err != nil {
				return nil, err
			}
			changes = append(changes, lifts...)
		}
		changes = append(changes, change)
	}
	obsolete, err := p.planObsolete(ctx, env)
	return append(changes, obsolete...), err
}

// planObsolete deletes what earlier versions installed and this one does not, and what only another backend needs.
func (p planner) planObsolete(ctx context.Context, env Environment) ([]Change, error) {
	unneeded, err := manifests.Unneeded(p.request.options(env))
	if err != nil {
		return nil, err
	}
	var candidates []Change
	for _, name := range manifests.ObsoleteBindings() {
		kind := admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding")
		candidates = append(candidates, Change{Object: object.Named(kind, "", name), Note: "of an earlier version"})
	}
	for _, typed := range unneeded {
		u, err := object.From(typed)
		if err != nil {
			return nil, err
		}
		note := "backend " + string(p.request.Settings.Backend) + " does without"
		candidates = append(candidates, Change{Object: u, Note: note})
	}
	return p.planDelete(ctx, candidates)
}

// planDelete returns the changes that delete the objects which are in the cluster.
func (p planner) planDelete(ctx context.Context, candidates []Change) ([]Change, error) {
	var changes []Change
	for _, c := range candidates {
		live, err := object.Client(p.Dynamic, c.Object).Get(ctx, c.Object.GetName(), metav1.GetOptions{})
		switch {
		case err == nil:
			changes = append(changes, Change{Action: Delete, Object: live, Note: c.Note})
		case IsForbidden(err) && slices.Contains(backends.Kinds(), c.Object.GroupVersionKind()):
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("reading %s: %w", object.Describe(c.Object), err)
		}
	}
	return changes, nil
}

// planApply finds what applying an object would do.
func (p planner) planApply(ctx context.Context, u *unstructured.Unstructured) (Change, error) {
	live, err := object.Client(p.Dynamic, u).Get(ctx, u.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Change{Action: Create, Object: uncalled(u)}, nil
	}
	if err != nil {
		return Change{}, fmt.Errorf("reading %s: %w", object.Describe(u), err)
	}
	wanted := u
	if isReplaced(u) {
		wanted = replacing(live, u)
	}
	after, err := writer{Clients: p.Clients, dryRun: true}.write(ctx, wanted)
	if err != nil {
		return Change{}, fmt.Errorf("comparing %s with the cluster: %w", object.Describe(u), err)
	}
	if object.SameContent(live, after) {
		return Change{Action: Unchanged, Object: wanted}, nil
	}
	return Change{Action: Update, Object: wanted}, nil
}

// checkNotTerminating is an error while an earlier disable is not finished.
func checkNotTerminating(ctx context.Context, client kubeclient.Interface) error {
	ns, err := client.CoreV1().Namespaces().Get(ctx, manifests.Namespace, metav1.GetOptions{})
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

// LiveSettings returns ConfigMap config-signing in Tekton's namespace, or nil if there is none.
func LiveSettings(ctx context.Context, client kubeclient.Interface, namespace string) (*corev1.ConfigMap, error) {
	cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, settings.ConfigMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, settings.ConfigMapName, err)
	}
	return cm, nil
}

// planSettings finds how ConfigMap config-signing changes.
func planSettings(live *corev1.ConfigMap, namespace string, wanted settings.Settings) (Change, error) {
	merged, err := mergeSettings(live, namespace, wanted)
	if err != nil {
		return Change{}, err
	}
	merged.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	u, err := object.From(merged)
	if err != nil {
		return Change{}, err
	}
	change := Change{Action: Update, Object: u, Keys: keyChanges(live, merged)}
	switch {
	case live == nil:
		change.Action = Create
	case len(change.Keys) == 0 && live.Annotations[annotationPrevious] != "":
		change.Action = Unchanged
	}
	return change, nil
}
