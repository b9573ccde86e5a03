// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"errors"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Options define how the signer reaches a pod and how it signs.
type Options struct {
	SignerImage string // reference of the image that holds the signer as step.ImagePath
	PullPolicy  corev1.PullPolicy
	PullSecrets []string // names of Secrets in the pod's namespace with which the image is pulled
	Delivery    Delivery
	Step        step.Options
	API         step.APIServer   // to which the signer may connect
	Patience    time.Duration    // of the signer
	Required    bool             // results cannot be used without evidence
	Tokens      TokenForm        // of the cluster
	Volumes     []cluster.Volume // that the backend needs in the pod
}

// SkippedError is the reason why a pod cannot be wrapped. Its steps run as Tekton made them and stay
// unsigned.
type SkippedError struct {
	Reason string // in words for people
}

func (e *SkippedError) Error() string { return "not injected: " + e.Reason }

func skipped(format string, args ...any) error {
	return &SkippedError{Reason: fmt.Sprintf(format, args...)}
}

// Pod returns pod with each of its steps wrapped. It does not change pod. If pod is already wrapped, only the
// shares of the termination messages are updated, in case someone added containers.
//
// With a *SkippedError, Pod returns a pod as well: pod itself if it cannot be wrapped, or an unwrapped pod if
// pod was wrapped and must not be any longer. With any other error, it returns no pod.
func Pod(pod *corev1.Pod, options Options) (*corev1.Pod, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	injected, err := wrapPod(pod.DeepCopy(), options)
	var skip *SkippedError
	if errors.As(err, &skip) && injected == nil {
		return pod, err
	}
	return injected, err
}

func (o Options) validate() error {
	switch {
	case o.SignerImage == "":
		return errors.New("the signer's image is missing; name it in the add-on's configuration")
	case o.Delivery != DeliveryImage && o.Delivery != DeliveryInit:
		return fmt.Errorf("expected delivery %s or %s, got %q", DeliveryImage, DeliveryInit, o.Delivery)
	}
	if err := o.Step.Validate(); err != nil {
		return fmt.Errorf("%w; correct config-signing", err)
	}
	return nil
}

// wrapPod changes pod.
func wrapPod(pod *corev1.Pod, options Options) (*corev1.Pod, error) {
	owner, err := taskRunOf(pod)
	if err != nil {
		return nil, err
	}
	if isWindows(pod) {
		return nil, skipped("the signer does not run on Windows")
	}
	steps, err := stepsOf(pod)
	if err != nil {
		return nil, err
	}
	if err := setValues(pod, steps, options.Step); err != nil {
		return nil, err
	}
	if steps[0].wrapped && options.API.Known() && !steps[0].api.Known() {
		return pod, nil // wrapped by an earlier version, whose signer accepts no other arguments
	}
	if steps[0].wrapped {
		options.Step = steps[0].options // the volumes are for these
	} else if err := deliver(pod, steps, options); err != nil {
		return nil, err
	}
	b := budgetOf(pod, steps)
	if err := b.check(evidenceSize(pod, options.Step, options.Tokens)); err != nil {
		if !steps[0].wrapped {
			return nil, err
		}
		unwrapPod(pod, steps) // someone added containers after the injection
		return pod, err
	}
	for i, s := range steps {
		s.wrap(step.Config{
			Namespace: pod.Namespace, TaskRun: owner.name, TaskRunUID: owner.uid, Container: s.container.Name,
			Index: uint8(i), Count: uint8(len(steps)), // #nosec G115 -- stepsOf returns no more
			Share: b.share(), Room: b.room(), MayCompress: b.reads && !b.compresses, Required: options.Required,
			Options: options.Step, API: options.API, Patience: options.Patience,
		})
	}
	return pod, nil
}

// isWindows reports whether the pod requires a Windows node.
func isWindows(pod *corev1.Pod) bool {
	os := pod.Spec.OS
	return os != nil && os.Name == corev1.Windows || pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}

// maxSteps is the number of steps that evidence can count.
const maxSteps = math.MaxUint8
