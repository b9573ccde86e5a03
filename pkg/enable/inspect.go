// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
)

// Environment is what an installation has to fit into.
type Environment struct {
	KubernetesVersion string // as the API server reports it, for example v1.35.4
	TektonNamespace   string
	TektonAccount     string // the service account of Tekton's controller; empty: as its releases name it
	TektonVersion     string // empty if the release does not say

	Others     []Controller // of other installations of Tekton, that run
	OthersSeen bool         // the user may look for them in the whole cluster
}

// Inspect finds Tekton and checks that the cluster has admission policies, which every backend needs. tektonNamespace is where to
// look for Tekton; empty: everywhere.
func Inspect(ctx context.Context, client kubeclient.Interface, tektonNamespace string) (Environment, error) {
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
	env.TektonNamespace, env.TektonAccount, env.TektonVersion = controller.Namespace, controller.Account, controller.Version
	env.Others, err = otherControllers(ctx, client, controller)
	if err != nil && !IsForbidden(err) {
		return Environment{}, err
	}
	env.OthersSeen = err == nil
	return env, nil
}

// requirePolicies is an error where ValidatingAdmissionPolicies are missing: without them a right to request tokens
// cannot be confined to signing.
func requirePolicies(client kubeclient.Interface, version string) error {
	const group = "admissionregistration.k8s.io/v1"
	list, err := client.Discovery().ServerResourcesForGroupVersion(group)
	if err != nil {
		return fmt.Errorf("asking the API server what %s holds: %w", group, err)
	}
	if slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == "ValidatingAdmissionPolicy" }) {
		return nil
	}
	return fmt.Errorf("tekton-sign needs ValidatingAdmissionPolicy of %s, which Kubernetes has since 1.30; "+
		"this cluster is %s and lacks it: upgrade it first", group, version)
}

// IsForbidden reports whether err says that the user lacks a permission.
func IsForbidden(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }
