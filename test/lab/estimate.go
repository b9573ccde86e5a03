// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
)

// shares are how many seconds each build took on a new machine with two cores, downloads included, in the order of
// the builds. A build is short if an earlier one has compiled most of its packages.
var shares = map[string]int{
	"etcd/etcd": 140, "containerd/containerd": 115,
	"kubernetes/kube-apiserver": 370, "kubernetes/kube-controller-manager": 110, "kubernetes/kubelet": 35,
	"kubernetes/kubectl": 45, "tekton/controller": 180,
}

// shortShare is the share of every other build.
const shortShare = 8

func shareOf(b toolchain.Binary) int {
	if share, ok := shares[b.Tools+"/"+b.Name]; ok {
		return share
	}
	return shortShare
}

// estimate counts the builds of a lab, and estimates how long the rest takes: by the shares at first, and then by the
// pace of this machine.
type estimate struct {
	now         func() time.Time
	started     time.Time
	steps, done int
	share, past int // of all steps, and of those that are done
}

// newEstimate returns the estimate for these builds.
func newEstimate(builds []toolchain.Binary, now func() time.Time) *estimate {
	e := &estimate{now: now, started: now(), steps: len(builds)}
	for _, b := range builds {
		e.share += shareOf(b)
	}
	return e
}

// finish counts a build that is done.
func (e *estimate) finish(b toolchain.Binary) {
	e.done++
	e.past += shareOf(b)
}

// left estimates how long the rest takes.
func (e *estimate) left() time.Duration {
	rest := time.Duration(e.share-e.past) * time.Second
	if e.past == 0 {
		return rest
	}
	return time.Duration(float64(e.now().Sub(e.started)) * float64(e.share-e.past) / float64(e.past))
}

// String describes where the builds are.
func (e *estimate) String() string {
	switch left := e.left(); {
	case e.done >= e.steps:
		return fmt.Sprintf("%d of %d built", e.done, e.steps)
	case left < time.Minute:
		return fmt.Sprintf("%d of %d built, %d to go, less than a minute", e.done, e.steps, e.steps-e.done)
	default:
		return fmt.Sprintf("%d of %d built, %d to go, about %.0f min", e.done, e.steps, e.steps-e.done, left.Minutes())
	}
}

// missing returns those of binaries that the cache lacks.
func (l *Lab) missing(ctx context.Context, binaries []toolchain.Binary) ([]toolchain.Binary, error) {
	var missing []toolchain.Binary
	for _, b := range binaries {
		cached, err := l.builder.Cached(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", b.Name, err)
		}
		if !cached {
			missing = append(missing, b)
		}
	}
	return missing, nil
}

// buildAll builds binaries, and shows how far it is if that takes time.
func (l *Lab) buildAll(ctx context.Context, binaries []toolchain.Binary) (map[string]string, error) {
	missing, err := l.missing(ctx, binaries)
	if err != nil {
		return nil, err
	}
	e := newEstimate(missing, time.Now)
	if e.steps > 0 {
		l.progress.say("%d programs are compiled once: %s", e.steps, e)
	}
	paths := map[string]string{}
	for _, b := range binaries {
		path, err := l.build(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", b.Name, err)
		}
		paths[b.Name] = path
		if slices.ContainsFunc(missing, func(m toolchain.Binary) bool { return m.Name == b.Name && m.Tools == b.Tools }) {
			e.finish(b)
			l.progress.say("  %s", e)
		}
	}
	return paths, nil
}
