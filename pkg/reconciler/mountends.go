// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// Timing of MountEnds.
const (
	// mountHolds is how long pods of a namespace are left alone at least. A driver can be registered on a node and yet
	// not mount: then a pod waits for mountPatience each time.
	mountHolds    = 5 * time.Minute
	mountInterval = 15 * time.Second // how often the nodes are read while there are exceptions
)

// MountEnds ends the exceptions of namespaces whose pods did not start because a node did not mount a volume of the
// backend.
type MountEnds struct{ MountEndsConfig }

// MountEndsConfig is what NewMountEnds needs.
type MountEndsConfig struct {
	Client kubernetes.Interface
	// Drivers returns the CSI drivers that mount the volumes of the backend into pods.
	Drivers func() []string
	// Takes reports whether new pods can get to a node.
	Takes func(node string) bool
	// Entries returns all exceptions, and Clear removes one of them.
	Entries  func() []delivery.Entry
	Clear    func(ctx context.Context, e delivery.Entry) error
	Recorder record.EventRecorder
	Now      func() time.Time
	Log      *zap.SugaredLogger
}

// NewMountEnds returns it. Run starts it.
func NewMountEnds(c MountEndsConfig) *MountEnds { return &MountEnds{c} }

// Run ends exceptions until ctx ends.
func (m *MountEnds) Run(ctx context.Context) {
	repeat(ctx, func(ctx context.Context) error {
		err := m.End(ctx)
		if err != nil && ctx.Err() == nil {
			m.Log.Warnw("finding out whether nodes mount the volumes of the backend again", zap.Error(err))
		}
		return err
	}, mountInterval, mountInterval)
}

// End ends the exceptions that have held for long enough, and whose node mounts volumes again. An exception of one
// TaskRun ends in any case: it has another pod by then. A node that cannot be read does not keep others from ending.
func (m *MountEnds) End(ctx context.Context) error {
	well := map[string]bool{}
	var errs []error
	for _, e := range m.Entries() {
		switch {
		case len(m.Drivers()) > 0 && m.Now().Sub(e.Since) < mountHolds:
			continue
		case e.Source == delivery.Once:
			errs = append(errs, m.Clear(ctx, e))
			continue
		case e.Source != delivery.Mount:
			continue
		}
		if _, known := well[e.Node]; !known {
			var err error
			well[e.Node], err = m.isWell(ctx, e.Node)
			errs = append(errs, err)
		}
		if well[e.Node] {
			errs = append(errs, m.end(ctx, e))
		}
	}
	return errors.Join(errs...)
}

// isWell reports whether no pod hangs because of a node: the drivers run there, or it gets no pods.
func (m *MountEnds) isWell(ctx context.Context, node string) (bool, error) {
	if node == "" || !m.Takes(node) {
		return true, nil
	}
	for _, driver := range m.Drivers() {
		if has, err := hasDriver(ctx, m.Client, node, driver); err != nil || !has {
			return false, err
		}
	}
	return true, nil
}

func (m *MountEnds) end(ctx context.Context, e delivery.Entry) error {
	if err := m.Clear(ctx, e); err != nil {
		return err
	}
	m.Log.Infow("pods get the signer again", "namespace", e.Namespace)
	m.Recorder.Event(ownDeployment(manifests.Controller), corev1.EventTypeNormal, ReasonRefusalEnded,
		display.Cut(display.Safe(fmt.Sprintf("namespace %s: pods get the signer again; they did not start with it: %s",
			e.Namespace, e.Reason)), maxEventMessage))
	return nil
}
