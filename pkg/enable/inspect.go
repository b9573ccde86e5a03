// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// tektonControllers selects the Deployment of Tekton's controller in every release and distribution.
const tektonControllers = "app.kubernetes.io/part-of=tekton-pipelines,app.kubernetes.io/component=controller"

// Environment is what an installation has to fit into.
type Environment struct {
	KubernetesVersion string // as the API server reports it, for example v1.35.4
	TektonNamespace   string
	TektonAccount     string // the service account of Tekton's controller; empty: as its releases name it
	TektonVersion     string // empty if the release does not say
}

// Inspect finds Tekton and checks that the cluster has what the backend oidc-sa-token needs. tektonNamespace is where to
// look for Tekton; empty: everywhere.
func Inspect(ctx context.Context, client kubernetes.Interface, tektonNamespace string) (Environment, error) {
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return Environment{}, fmt.Errorf("asking the API server for its version: %w", err)
	}
	env := Environment{KubernetesVersion: version.GitVersion}
	if err := requirePolicies(client, env.KubernetesVersion); err != nil {
		return Environment{}, err
	}
	controller, err := findTekton(ctx, client, tektonNamespace)
	if err != nil {
		return Environment{}, err
	}
	env.TektonNamespace = controller.Namespace
	env.TektonAccount = controller.Spec.Template.Spec.ServiceAccountName
	env.TektonVersion = controller.Labels["app.kubernetes.io/version"]
	return env, nil
}

// requirePolicies is an error where ValidatingAdmissionPolicies are missing: without them a right to request tokens
// cannot be confined to signing.
func requirePolicies(client kubernetes.Interface, version string) error {
	const group = "admissionregistration.k8s.io/v1"
	list, err := client.Discovery().ServerResourcesForGroupVersion(group)
	if err != nil {
		return fmt.Errorf("asking the API server what %s holds: %w", group, err)
	}
	if slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == "ValidatingAdmissionPolicy" }) {
		return nil
	}
	return fmt.Errorf("backend oidc-sa-token needs ValidatingAdmissionPolicy of %s, which Kubernetes has since 1.30; "+
		"this cluster is %s and lacks it: upgrade it first", group, version)
}

// findTekton returns the Deployment of Tekton's controller.
func findTekton(ctx context.Context, client kubernetes.Interface, namespace string) (*appsv1.Deployment, error) {
	list, err := client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{LabelSelector: tektonControllers})
	if err != nil {
		return nil, fmt.Errorf("looking for Tekton Pipelines (Deployments with %s): %w", tektonControllers, err)
	}
	where := "this cluster"
	if namespace != "" {
		where = "namespace " + namespace
	}
	switch len(list.Items) {
	case 0:
		return nil, fmt.Errorf("no Tekton Pipelines in %s: no Deployment has the labels %s; install Tekton first, "+
			"or name its namespace with --tekton-namespace", where, tektonControllers)
	case 1:
		return &list.Items[0], nil
	}
	names := make([]string, len(list.Items))
	for i, d := range list.Items {
		names[i] = d.Namespace + "/" + d.Name
	}
	return nil, fmt.Errorf("%d installations of Tekton Pipelines in %s: %s; choose one with --tekton-namespace",
		len(names), where, strings.Join(names, ", "))
}

// IsForbidden reports whether err says that the user lacks a permission.
func IsForbidden(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }
