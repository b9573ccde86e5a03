// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// checkTektonsSigner adds what keeps the plan's signer and Tekton's own from working together: an obstacle if nothing
// that steps sign would count, else a warning.
func (p *Plan) checkTektonsSigner(ctx context.Context, client kubeclient.Interface) error {
	flags, err := ReadFlags(ctx, client, p.Environment.TektonNamespace)
	switch {
	case IsForbidden(err) && !p.Settings.TektonSigns():
		return nil // status reports it
	case err != nil:
		return err
	}
	p.add(backends.CheckTektonsSigner(p.Settings, p.Environment.TektonNamespace, flags))
	if p.Settings.TektonSigns() && !p.Settings.AcceptsTektonIn(settings.Enforce) {
		p.Warnings = append(p.Warnings, Warning{TopicTaskRuns, "namespaces with the label " + settings.LabelEnforcement +
			"=enforce accept no evidence of format v1, so their TaskRuns fail: --minimum-format v1 accepts it"})
	}
	return nil
}

// add adds a finding: an obstacle if nothing works with it, else a warning.
func (p *Plan) add(f cluster.Finding) {
	switch text := fmt.Sprintf("%s: %s", f.Message, cmp.Or(f.Next, f.Got)); f.Level {
	case cluster.Broken:
		p.Obstacles = append(p.Obstacles, text)
	case cluster.Warning, cluster.Unread:
		p.Warnings = append(p.Warnings, Warning{TopicBackend, text})
	case cluster.Fine:
	}
}

// ReadFlags returns Tekton's switches, nil if there is no ConfigMap, which means the defaults.
func ReadFlags(ctx context.Context, client kubeclient.Interface, namespace string) (map[string]string, error) {
	cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, tekton.FeatureFlags, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, tekton.FeatureFlags, err)
	case cm.Data == nil:
		return map[string]string{}, nil
	}
	return cm.Data, nil
}
