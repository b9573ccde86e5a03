// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// stepContainer is one step with its command line from Tekton.
type stepContainer struct {
	container *corev1.Container
	args      []string // of Tekton's entrypoint
	flags     entrypointFlags
	wrapped   bool           // the pod was injected before
	api       step.APIServer // passed to the signer then
	room      int            // passed to the signer then; 0 for an earlier version
	options   step.Options   // passed to the signer then
	command   []string       // starts the signer
	before    []string       // first arguments of command, if another webhook wrapped the step after the injection
	values    *step.Values   // set if results travel by the log of Tekton's results sidecar
}

// stepsOf returns the pod's steps in order. All of them are wrapped or none is.
func stepsOf(pod *corev1.Pod) ([]stepContainer, error) {
	var steps []stepContainer
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if !tekton.IsStep(c.Name) {
			continue
		}
		s, err := readStep(c)
		if err != nil {
			return nil, err
		}
		if len(steps) > 0 && s.wrapped != steps[0].wrapped {
			return nil, fmt.Errorf("container %s and %s of pod %q are not both injected; let the add-on alone inject pods",
				steps[0].container.Name, c.Name, pod.Name)
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 || len(steps) > maxSteps {
		return nil, skipped("expected 1 to %d step containers, got %d", maxSteps, len(steps))
	}
	return steps, nil
}

func readStep(c *corev1.Container) (stepContainer, error) {
	s := stepContainer{container: c, args: c.Args, command: []string{step.PodPath}}
	if at, ok := signerIn(c); ok {
		if err := s.readWrapped(at); err != nil {
			return stepContainer{}, fmt.Errorf("container %s starts the signer with other arguments than the add-on's: %w",
				c.Name, err)
		}
	} else if !slices.Equal(c.Command, []string{tekton.Entrypoint}) {
		return stepContainer{}, skipped("expected container %s to start %s, got %q: another webhook changed it before; "+
			"configure it to ignore pods of TaskRuns", c.Name, tekton.Entrypoint, c.Command)
	}
	flags, err := parseEntrypoint(s.args)
	if err != nil {
		return stepContainer{}, skipped("container %s: %v", c.Name, err)
	}
	s.flags = flags
	switch {
	case flags.tektonSigns():
		return stepContainer{}, skipped(tektonSigns)
	case flags.values[flagTerminationPath] != c.TerminationMessagePath:
		return stepContainer{},
			skipped("container %s: expected the entrypoint to write to the terminationMessagePath %q, got %q",
				c.Name, c.TerminationMessagePath, flags.values[flagTerminationPath])
	}
	return s, nil
}

// signerIn finds the signer in the command line of a container: as the command, or after the command of
// another webhook that wrapped it. Arguments after the signer belong to the step. If there is no signer, they
// must not be mistaken for it.
func signerIn(c *corev1.Container) (at int, ok bool) {
	if slices.Equal(c.Command, []string{step.PodPath}) {
		return 0, true
	}
	if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volumeName }) {
		return 0, false
	}
	line, tried := slices.Concat(c.Command, c.Args), 0
	for at := max(len(c.Command)-1, 0); at < len(line) && tried < maxTried; at++ {
		if line[at] != step.PodPath {
			continue
		}
		if _, _, err := step.Parse(line[at+1:]); err == nil {
			return at, true
		}
		tried++
	}
	return 0, false
}

// maxTried bounds the positions in a command line at which to look for the signer, because each attempt reads
// all that follows.
const maxTried = 16

// readWrapped reads a command line with the signer in it.
func (s *stepContainer) readWrapped(at int) error {
	c := s.container
	line := slices.Concat(c.Command, c.Args)
	args, config, err := unwrap(line[at+1:])
	if err != nil {
		return err
	}
	s.args, s.api, s.room, s.options, s.wrapped = args, config.API, config.Room, config.Options, true
	s.command, s.before = c.Command, line[len(c.Command):at+1]
	return nil
}

// start makes the container start program instead of the signer, with args.
func (s stepContainer) start(program string, args []string) {
	line := slices.Concat(s.command, s.before)
	line[len(line)-1] = program
	n := len(s.command)
	s.container.Command, s.container.Args = line[:n:n], slices.Concat(line[n:], args)
}

// unwrap returns Tekton's arguments for the entrypoint of a wrapped step, and the signer's configuration.
func unwrap(args []string) ([]string, step.Config, error) {
	config, command, err := step.Parse(args)
	if err != nil {
		return nil, config, err
	}
	if command[0] != tekton.Entrypoint {
		return nil, config, fmt.Errorf("expected the command %s, got %s", tekton.Entrypoint, command[0])
	}
	stock := slices.Clone(command[1:])
	if config.PostFile == "" {
		return stock, config, nil
	}
	flags, err := parseEntrypoint(stock)
	if err != nil {
		return nil, config, err
	}
	if want := step.PrivatePostFile(config.PostFile); stock[flags.post] != want {
		return nil, config, fmt.Errorf("expected -post_file %s, got %s", want, stock[flags.post])
	}
	stock[flags.post] = config.PostFile
	return stock, config, nil
}

// wrap makes the container start the signer. The scripts of a debugging session use the stock post file, so
// the entrypoint keeps it there.
func (s stepContainer) wrap(config step.Config) {
	stock := append([]string{tekton.Entrypoint}, s.args...)
	config.TerminationPath = s.flags.values[flagTerminationPath]
	config.Compress = s.flags.has(flagCompress)
	config.Values = s.values
	if s.wrapped && s.room == 0 { // wrapped by an earlier version, whose signer does not have these flags
		config.Room, config.MayCompress, config.Required = 0, false, false
	}
	if !s.flags.has(flagBreakpoint) && !s.flags.has(flagBeforeStep) {
		config.PostFile = s.flags.values[flagPostFile]
		stock[1+s.flags.post] = step.PrivatePostFile(config.PostFile)
	}
	s.start(step.PodPath, config.Args(stock))
}
