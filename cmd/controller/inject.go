// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
)

// inject implements admission.Injector.
func (a *addOn) inject(pod *corev1.Pod, injection admission.Injection) (*corev1.Pod, string, error) {
	api, err := a.api.get()
	if err != nil {
		return nil, "", err
	}
	injected, err := inject.Pod(pod, inject.Options{
		SignerImage: a.signerImage,
		PullPolicy:  corev1.PullIfNotPresent,
		PullSecrets: injection.PullSecrets,
		Delivery:    inject.Delivery(injection.Delivery),
		Step:        injection.Step,
		API:         api,
		Patience:    injection.Patience,
		Required:    injection.Required,
		Tokens:      inject.ShortestTokens(a.trust.Cluster()),
		Volumes:     backends.Of(injection.Step.Backend).StepVolumes,
	})
	var skipped *inject.SkippedError
	if errors.As(err, &skipped) {
		return injected, skipped.Reason, nil
	}
	return injected, "", err
}
