// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

// labelTektonVersion is the label with the version of a release.
const labelTektonVersion = "app.kubernetes.io/version"

// Controller is a workload that runs Tekton's controller.
type Controller struct {
	Kind, Namespace, Name string
	Account               string // the service account of its pods; empty: the account in Tekton's releases
	Version               string // empty if the release has no label
	Serves                string // the namespace whose TaskRuns it runs; empty: those of all namespaces
	Stopped               bool   // it is scaled to 0, or being deleted
}

func (c Controller) String() string { return c.Kind + " " + c.Namespace + "/" + c.Name }

// served describes the namespaces whose TaskRuns the controller runs.
func (c Controller) served() string {
	if c.Serves == "" {
		return "all namespaces"
	}
	return "namespace " + c.Serves
}

// newController reads a workload. replicas is nil where a workload has no replicas.
func newController(kind string, m metav1.ObjectMeta, template corev1.PodTemplateSpec, replicas *int32) Controller {
	return Controller{
		Kind: kind, Namespace: m.Namespace, Name: m.Name, Account: template.Spec.ServiceAccountName,
		Version: cmp.Or(m.Labels[labelTektonVersion], template.Labels[labelTektonVersion]),
		Serves:  servedNamespace(template.Spec),
		Stopped: m.DeletionTimestamp != nil || replicas != nil && *replicas == 0,
	}
}

// servedNamespace returns the value of the flag -namespace of Tekton's controller, which limits it to one namespace.
func servedNamespace(spec corev1.PodSpec) string {
	for _, container := range spec.Containers {
		if value, ok := tekton.FlagValue(slices.Concat(container.Command, container.Args), "namespace"); ok {
			return value
		}
	}
	return ""
}

// controllersIn lists Tekton's controllers in a namespace, or in all. If the user may not list some kinds, that is an
// error beside what was found of other kinds.
func controllersIn(ctx context.Context, client kubeclient.Interface, namespace string) ([]Controller, error) {
	var found []Controller
	var errs []error
	options := metav1.ListOptions{LabelSelector: tekton.Controllers}
	for _, list := range []controllerLister{deployedControllers, statefulControllers} {
		listed, err := list(ctx, client, namespace, options)
		found, errs = append(found, listed...), append(errs, err)
	}
	if len(found) == 0 && errors.Join(errs...) == nil {
		listed, err := podsOfControllers(ctx, client, namespace, options)
		found, errs = append(found, listed...), append(errs, err)
	}
	return distinct(found), errors.Join(errs...)
}

// controllerLister lists the controllers in workloads of one kind.
type controllerLister func(context.Context, kubeclient.Interface, string, metav1.ListOptions) ([]Controller, error)

func deployedControllers(
	ctx context.Context, client kubeclient.Interface, namespace string, o metav1.ListOptions,
) ([]Controller, error) {
	list, err := client.AppsV1().Deployments(namespace).List(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("looking for Tekton Pipelines (Deployments with %s): %w", tekton.Controllers, err)
	}
	var found []Controller
	for _, d := range list.Items {
		found = append(found, newController("Deployment", d.ObjectMeta, d.Spec.Template, d.Spec.Replicas))
	}
	return found, nil
}

// statefulControllers finds the StatefulSet in which Tekton's operator runs a controller with several replicas.
func statefulControllers(
	ctx context.Context, client kubeclient.Interface, namespace string, o metav1.ListOptions,
) ([]Controller, error) {
	list, err := client.AppsV1().StatefulSets(namespace).List(ctx, o)
	if apierrors.IsNotFound(err) {
		return nil, nil // a server that does not know the kind holds none
	}
	if err != nil {
		return nil, fmt.Errorf("looking for Tekton Pipelines (StatefulSets with %s): %w", tekton.Controllers, err)
	}
	var found []Controller
	for _, s := range list.Items {
		found = append(found, newController("StatefulSet", s.ObjectMeta, s.Spec.Template, s.Spec.Replicas))
	}
	return found, nil
}

// podsOfControllers finds the controllers in workloads of any other kind.
func podsOfControllers(
	ctx context.Context, client kubeclient.Interface, namespace string, o metav1.ListOptions,
) ([]Controller, error) {
	list, err := client.CoreV1().Pods(namespace).List(ctx, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for Tekton Pipelines (pods with %s): %w", tekton.Controllers, err)
	}
	var found []Controller
	for _, pod := range list.Items {
		found = append(found, newController("Pod", pod.ObjectMeta, corev1.PodTemplateSpec{Spec: pod.Spec}, nil))
	}
	return found, nil
}

// distinct keeps one of the controllers that share namespace and account: they are one installation. It prefers one
// that runs.
func distinct(all []Controller) []Controller {
	slices.SortStableFunc(all, func(a, b Controller) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Account, b.Account),
			compareBools(a.Stopped, b.Stopped))
	})
	return slices.CompactFunc(all, func(a, b Controller) bool {
		return a.Namespace == b.Namespace && a.Account == b.Account
	})
}

// compareBools puts false before true.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// running returns the controllers that run, or all if none runs: an installation may be scaled to 0 for a while.
func running(all []Controller) []Controller {
	started := slices.DeleteFunc(slices.Clone(all), func(c Controller) bool { return c.Stopped })
	if len(started) == 0 {
		return all
	}
	return started
}

// FindTekton returns Tekton's controller in a namespace, or in the whole cluster if that is empty. That the user
// lacks a permission is an error only if nothing was found without it.
func FindTekton(ctx context.Context, client kubeclient.Interface, namespace string) (Controller, error) {
	all, err := controllersIn(ctx, client, namespace)
	if err != nil && (len(all) == 0 || !IsForbidden(err)) {
		return Controller{}, err
	}
	return theController(running(all), namespace)
}

// theController returns the only controller. It is an error if there is none, or more than one.
func theController(found []Controller, namespace string) (Controller, error) {
	where := "this cluster"
	if namespace != "" {
		where = "namespace " + namespace
	}
	switch len(found) {
	case 0:
		return Controller{}, fmt.Errorf("no Tekton Pipelines in %s: no Deployment, StatefulSet or pod has the labels %s; "+
			"install Tekton first, or name its namespace with --tekton-namespace", where, tekton.Controllers)
	case 1:
		return found[0], nil
	}
	return Controller{}, fmt.Errorf("%d installations of Tekton Pipelines in %s: %s; choose one with --tekton-namespace",
		len(found), where, ControllerNames(found))
}

// ControllerNames joins the names of controllers for a message.
func ControllerNames(all []Controller) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.String()
	}
	return strings.Join(names, ", ")
}
