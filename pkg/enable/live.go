// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// StockNamespace is the namespace in which releases of Tekton install it.
const StockNamespace = "tekton-pipelines"

// Live is what a verification with a cluster at hand needs of an installation.
type Live struct {
	TektonNamespace string
	Settings        settings.Settings
}

// ReadLive reads ConfigMap config-signing in Tekton's namespace. Where the user may not search the whole cluster for
// Tekton, that is taken to be the namespace in which releases install it.
func ReadLive(ctx context.Context, client kubeclient.Interface) (Live, error) {
	namespace, err := liveNamespace(ctx, client)
	if err != nil {
		return Live{}, err
	}
	live := Live{TektonNamespace: namespace}
	cm, err := client.CoreV1().ConfigMaps(live.TektonNamespace).Get(ctx, settings.ConfigMapName, metav1.GetOptions{})
	if err != nil {
		return Live{}, fmt.Errorf("reading the settings in namespace %s: %w", live.TektonNamespace, err)
	}
	if live.Settings, err = settings.Parse(cm.Data); err != nil {
		return live, err
	}
	live.Settings, _, err = WithConfigMap(ctx, client, live.TektonNamespace, live.Settings)
	return live, err
}

// liveNamespace returns the namespace of Tekton; where there are several installations, of the one with the settings.
func liveNamespace(ctx context.Context, client kubeclient.Interface) (string, error) {
	all, err := controllersIn(ctx, client, metav1.NamespaceAll)
	switch {
	case len(all) == 0 && apierrors.IsForbidden(err):
		return StockNamespace, nil
	case err != nil && !IsForbidden(err):
		return "", err
	}
	if len(all) == 1 {
		return all[0].Namespace, nil
	}
	var with []Controller
	for _, controller := range all {
		_, err := client.CoreV1().ConfigMaps(controller.Namespace).Get(ctx, settings.ConfigMapName, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) { // settings that the user may not read count, too: no others are used instead
			with = append(with, controller)
		}
	}
	if len(with) == 0 {
		with = running(all)
	}
	controller, err := theController(with, metav1.NamespaceAll)
	return controller.Namespace, err
}

// TokenPolicyDrift is an error that names the first policy or binding that is missing or was changed, of those
// without which signing tokens and records prove nothing. It is nil if they are in order, if no backend is on, or if
// the user may not read them. If the add-on is of another version than this tool, only missing policies and bindings
// count.
func (l Live) TokenPolicyDrift(ctx context.Context, client kubeclient.Interface, version string) error {
	if !backends.Of(l.Settings.Backend).Enabled {
		return nil
	}
	all, err := manifests.RenderPolicies(manifests.Options{TektonNamespace: l.TektonNamespace, Settings: l.Settings})
	if err != nil {
		return err
	}
	want := all.OfTokens()
	admission := client.AdmissionregistrationV1()
	policies, err := existing(ctx, want.Policies, admission.ValidatingAdmissionPolicies().Get)
	if err != nil {
		return nil // a verification needs no administrator
	}
	bindings, err := existing(ctx, want.Bindings, admission.ValidatingAdmissionPolicyBindings().Get)
	if err != nil {
		return nil
	}
	if addOnVersion(ctx, client) != version { // its policies differ
		for _, p := range want.Policies {
			if got := policies[p.Name]; got != nil {
				got.Spec = p.Spec
			}
		}
		for _, b := range want.Bindings {
			if got := bindings[b.Name]; got != nil {
				got.Spec = b.Spec
			}
		}
	}
	return want.Drift(
		func(name string) *admissionv1.ValidatingAdmissionPolicy { return policies[name] },
		func(name string) *admissionv1.ValidatingAdmissionPolicyBinding { return bindings[name] })
}

// existing returns the wanted objects that are in the cluster, by name.
func existing[T metav1.Object](
	ctx context.Context, wanted []T, get func(context.Context, string, metav1.GetOptions) (T, error),
) (map[string]T, error) {
	found := map[string]T{}
	for _, w := range wanted {
		got, err := get(ctx, w.GetName(), metav1.GetOptions{})
		switch {
		case err == nil:
			found[w.GetName()] = got
		case !apierrors.IsNotFound(err):
			return nil, err
		}
	}
	return found, nil
}

// addOnVersion returns the version of the add-on, empty if it cannot be read.
func addOnVersion(ctx context.Context, client kubeclient.Interface) string {
	d, err := client.AppsV1().Deployments(manifests.Namespace).Get(ctx, manifests.Controller, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return d.Labels[manifests.LabelVersion]
}
