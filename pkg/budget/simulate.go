// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// margin is how many bytes a message may be longer or shorter than its estimate: random bytes compress a little
// differently each time, and the length of certificates varies.
const margin = 32

// Fit is how the messages of one pod fill.
type Fit struct {
	State      State  `json:"state"`
	Reason     string `json:"reason,omitempty"`
	Containers int    `json:"containers"`
	Share      int    `json:"share"` // bytes of each message
	Steps      []Step `json:"steps,omitempty"`

	leftAlone bool // no signer enters the pod
}

// Step is how one message fills, in bytes.
type Step struct {
	Container  string `json:"container"`
	Overhead   int    `json:"overhead"` // of a message without results and evidence
	Results    int    `json:"results"`  // the entries of results, before compression
	Evidence   int    `json:"evidence"` // the entries of evidence, before compression
	Message    int    `json:"message"`  // all of it, as it is written
	Limit      int    `json:"limit"`    // how long it may be with evidence
	Left       int    `json:"left"`
	Over       int    `json:"over"`
	Compressed bool   `json:"compressed"`
	Exact      bool   `json:"exact"` // otherwise the message may be some bytes longer or shorter
}

// simulate fills the messages of a subject's pod, signed in this way.
func (e *Environment) simulate(s *Subject, w Way) Fit {
	pod := s.pod(w)
	fit := Fit{Containers: containers(pod), State: Fits}
	fit.Share = room.Share(fit.Containers)
	options := e.step(w)
	if w.signs() {
		injected, err := inject.Pod(pod, e.options(s, w))
		var skipped *inject.SkippedError
		switch {
		case errors.As(err, &skipped):
			return e.leftAlone(s, w, fit, skipped.Reason)
		case err != nil:
			fit.State, fit.Reason = Unknown, err.Error()
			return fit
		}
		pod = injected
		fit.Containers = containers(pod)
		fit.Share = room.Share(fit.Containers)
	}
	return e.fillAll(s, w, pod, options, fit)
}

// fillAll fills the messages of all steps. Those of steps that emit nothing are alike.
func (e *Environment) fillAll(s *Subject, w Way, pod *corev1.Pod, options step.Options, fit Fit) Fit {
	var silent Step
	for i, c := range stepsOf(pod) {
		filled, state := silent, fit.State
		alike := s.ran == nil && len(s.entries(i, w)) == 0
		if !alike || silent.Message == 0 {
			var err error
			if filled, state, err = e.fill(s, w, pod, c, i, options); err != nil {
				return Fit{Containers: fit.Containers, Share: fit.Share, State: Unknown, Reason: err.Error()}
			}
		}
		if alike {
			silent = filled
		}
		filled.Container = cmp.Or(s.name(i), filled.Container)
		fit.State, fit.Steps = worse(fit.State, state), append(fit.Steps, filled)
	}
	return fit
}

// leftAlone returns how messages fill in a pod that no signer enters. Their results can be lost all the same.
func (e *Environment) leftAlone(s *Subject, w Way, fit Fit, reason string) Fit {
	if filled := e.simulate(s, w.stock()); filled.State == Lost {
		fit = filled
	} else {
		fit.State = Never
	}
	fit.Reason, fit.leftAlone = reason, true
	return fit
}

// fill fills the message of one step, as the signer does.
func (e *Environment) fill(
	s *Subject, w Way, pod *corev1.Pod, c corev1.Container, i int, options step.Options,
) (Step, State, error) {
	fill := room.Fill{Share: room.Share(containers(pod)), Compress: w.Compression == CompressionAlways}
	fill.Room = fill.Share
	var evidence []result.RunResult
	internal, bare := s.internal(i), s.entries(i, w)
	if w.signs() {
		config, _, err := step.Parse(c.Args)
		if err != nil {
			return Step{}, Unknown, err
		}
		fill = room.Of(config)
		evidence = inject.Evidence(pod, options, e.tokens(), e.node(s), bare)
		if evidence == nil {
			return Step{}, Unknown, fmt.Errorf("the form of the cluster's tokens is not known: name a trust bundle")
		}
	}
	return measure(c.Name, fill, internal, bare, evidence)
}

// measure returns how one message fills.
func measure(name string, fill room.Fill, internal, bare, evidence []result.RunResult) (Step, State, error) {
	without := slices.Concat(internal, bare)
	sizes, err := plainSizes(internal, without, slices.Concat(without, evidence))
	if err != nil {
		return Step{}, Unknown, err
	}
	text, err := fill.Text(slices.Concat(without, evidence))
	if err != nil {
		return Step{}, Unknown, err
	}
	f := Step{
		Container: name, Overhead: sizes[0], Results: sizes[1] - sizes[0], Evidence: sizes[2] - sizes[1],
		Message: len(text), Limit: fill.Limit(without, emits(bare)), Compressed: len(text) != sizes[2],
		Exact: len(text) == sizes[2] && !slices.ContainsFunc(evidence, isCertificate),
	}
	f.Left, f.Over = max(f.Limit-f.Message, 0), max(f.Message-f.Limit, 0)
	doubt := margin
	if f.Exact {
		doubt = 0
	}
	switch {
	case f.Message+doubt <= f.Limit:
		return f, Fits, nil
	case f.Message-doubt <= f.Limit:
		return f, Tight, nil
	}
	alone, err := fill.Text(without)
	if err != nil {
		return Step{}, Unknown, err
	}
	if len(alone) > fill.Share {
		return f, Lost, nil
	}
	return f, TooLong, nil
}

// plainSizes returns how long messages are that are not compressed.
func plainSizes(messages ...[]result.RunResult) ([]int, error) {
	sizes := make([]int, len(messages))
	for i, m := range messages {
		text, err := room.Encode(m, false)
		if err != nil {
			return nil, err
		}
		sizes[i] = len(text)
	}
	return sizes, nil
}

func isCertificate(r result.RunResult) bool { return signing.IsCertificate(r.Key) }

func emits(bare []result.RunResult) bool {
	return slices.ContainsFunc(bare, func(r result.RunResult) bool { return signing.IsSignedKind(r.ResultType) })
}

func (e *Environment) step(w Way) step.Options { return w.settings(e.Settings).Step() }

func (e *Environment) options(s *Subject, w Way) inject.Options {
	return inject.Options{
		SignerImage: "signer", PullPolicy: corev1.PullIfNotPresent, Delivery: w.Delivery, Step: e.step(w),
		Tokens: e.Tokens, Volumes: backends.Of(w.Backend).StepVolumes, Required: s.Mode == settings.Enforce,
	}
}

func containers(pod *corev1.Pod) int {
	return len(pod.Spec.Containers) + len(pod.Spec.InitContainers) + len(pod.Spec.EphemeralContainers)
}

func stepsOf(pod *corev1.Pod) []corev1.Container {
	return slices.DeleteFunc(slices.Clone(pod.Spec.Containers), func(c corev1.Container) bool {
		return !tekton.IsStep(c.Name)
	})
}
