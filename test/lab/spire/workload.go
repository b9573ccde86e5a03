// SPDX-License-Identifier: Apache-2.0

package spire

import (
	"context"
	"errors"
	"fmt"
)

// Kubectl runs kubectl against the lab and returns what it printed.
type Kubectl func(ctx context.Context, stdin string, args ...string) ([]byte, error)

// rolloutTimeout is how long pods may take to become ready.
const rolloutTimeout = "--timeout=120s"

// Workload is a StatefulSet or a DaemonSet of SPIRE.
type Workload struct {
	kubectl    Kubectl
	kind, name string
}

func (w Workload) run(ctx context.Context, args ...string) error {
	_, err := w.kubectl(ctx, "", append([]string{"--namespace", Namespace}, args...)...)
	return err
}

func (w Workload) resource() string { return w.kind + "/" + w.name }

// Await returns when all its pods are ready.
func (w Workload) Await(ctx context.Context) error {
	if err := w.run(ctx, "rollout", "status", w.resource(), rolloutTimeout); err != nil {
		return errors.Join(err, w.explain(ctx))
	}
	return nil
}

// explain shows why pods may not be ready.
func (w Workload) explain(ctx context.Context) error {
	logs, err := w.kubectl(ctx, "", "--namespace", Namespace, "logs", w.resource(), "--all-containers", "--tail=10")
	return errors.Join(fmt.Errorf("last lines of %s:\n%s", w.name, logs), err)
}

// Restart replaces its pods, and returns when the new ones are ready.
func (w Workload) Restart(ctx context.Context) error {
	if err := w.run(ctx, "rollout", "restart", w.resource()); err != nil {
		return err
	}
	return w.Await(ctx)
}

// Stop ends its pods, and returns when they are gone.
func (w Workload) Stop(ctx context.Context) error {
	if err := w.switchTo(ctx, false); err != nil {
		return err
	}
	return w.run(ctx, "wait", "pod", "--selector=app="+w.name, "--for=delete", rolloutTimeout)
}

// Start starts its pods again, and returns when they are ready.
func (w Workload) Start(ctx context.Context) error {
	if err := w.switchTo(ctx, true); err != nil {
		return err
	}
	return w.Await(ctx)
}

// switchTo scales a StatefulSet, and sends the pods of a DaemonSet to nodes that there are not.
func (w Workload) switchTo(ctx context.Context, on bool) error {
	if w.kind == "daemonset" {
		selector := `{"lab.tekton-sign.dev/stopped":"true"}`
		if on {
			selector = "null"
		}
		patch := `{"spec":{"template":{"spec":{"nodeSelector":` + selector + `}}}}`
		return w.run(ctx, "patch", w.resource(), "--type=merge", "--patch="+patch)
	}
	replicas := "--replicas=0"
	if on {
		replicas = "--replicas=1"
	}
	return w.run(ctx, "scale", w.resource(), replicas)
}
