// SPDX-License-Identifier: Apache-2.0

// Package tektontest calls the code with which Tekton's controller makes a TaskRun's status from its pod,
// without a cluster or a network. It is for tests only, because it links the registry clients of three
// clouds.
package tektontest

import (
	"context"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/pod"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

// Controller is Tekton's controller with the settings of a fresh installation.
type Controller struct{ settings *config.Config }

// NewController returns a controller.
func NewController() Controller {
	return Controller{settings: config.FromContextOrDefaults(context.Background())}
}

// Status returns the status that Tekton makes for tr, a run of spec, from its pod p. Values travel by log, or
// by termination message if log is nil. It changes p. Tekton reads the log only if status.taskSpec.results is
// not nil.
func (c Controller) Status(tr v1.TaskRun, p *corev1.Pod, spec *v1.TaskSpec, log *Log) (v1.TaskRunStatus, error) {
	settings, client := c.settings, kubernetes.Interface(nil)
	if log != nil {
		settings, client = log.settings(settings), log.client()
	}
	return pod.MakeTaskRunStatus(config.ToContext(context.Background(), settings), zap.NewNop().Sugar(), tr, p,
		client, spec)
}
