// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
)

// Environment is the cluster that an installation has to fit.
type Environment struct {
	KubernetesVersion string // as the API server reports it, for example v1.35.4
	TektonNamespace   string
	TektonAccount     string // the service account of Tekton's controller; empty: as its releases name it
	TektonVersion     string // empty if the release does not say

	Others     []Controller // running controllers of other installations of Tekton
	OthersSeen bool         // the user may search for them in the whole cluster
}

// Inspect finds Tekton and checks that the cluster has admission policies, which every backend needs. It searches for
// Tekton in tektonNamespace, or everywhere if that is empty.
func Inspect(ctx context.Context, client kubeclient.Interface, tektonNamespace string) (Environment, error) {
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return Environment{}, fmt.Errorf("asking the API server for its version: %w", err)
	}
	env := Environment{KubernetesVersion: version.GitVersion}
	if err := RequirePolicies(client, env.KubernetesVersion); err != nil {
		return Environment{}, err
	}
	controller, err := FindTekton(ctx, client, tektonNamespace)
	if err != nil {
		return Environment{}, err
	}
	env.TektonNamespace, env.TektonAccount = controller.Namespace, controller.Account
	env.TektonVersion = controller.Version
	env.Others, err = OtherControllers(ctx, client, controller)
	if err != nil && !IsForbidden(err) {
		return Environment{}, err
	}
	env.OthersSeen = err == nil
	return env, nil
}

// RequirePolicies is an error where the API server has no ValidatingAdmissionPolicies: without them a right to request
// tokens cannot be limited to signing.
func RequirePolicies(client kubeclient.Interface, version string) error {
	const group = "admissionregistration.k8s.io/v1"
	list, err := client.Discovery().ServerResourcesForGroupVersion(group)
	if err != nil {
		return fmt.Errorf("asking the API server what %s holds: %w", group, err)
	}
	if slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool {
		return r.Kind == "ValidatingAdmissionPolicy"
	}) {
		return nil
	}
	return fmt.Errorf("tekton-sign needs ValidatingAdmissionPolicy of %s, which Kubernetes has since 1.30; "+
		"this cluster is %s and lacks it: upgrade it first", group, version)
}
