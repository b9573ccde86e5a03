// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

// Flags of the entrypoint (Tekton Pipelines, cmd/entrypoint) on which the injection depends.
const (
	flagPostFile        = "post_file"
	flagTerminationPath = "termination_path"
	flagResultFrom      = "result_from"
	flagResults         = "results"
	flagStepResults     = "step_results"
	flagStepDir         = "step_metadata_dir"
	flagCompress        = "compress_termination_message"
	flagBreakpoint      = "breakpoint_on_failure"
	flagBeforeStep      = "debug_before_step"
	flagSigner          = "enable_spire" // Tekton's own signer
	flagWaitFileContent = "wait_file_content"
)

// switches returns the entrypoint's flags that take no value from the next argument.
func switches() []string {
	return []string{flagCompress, flagBreakpoint, flagBeforeStep, flagSigner, flagWaitFileContent}
}

// entrypointFlags are the flags of one step's entrypoint.
type entrypointFlags struct {
	values map[string]string
	post   int // position of the value of -post_file among the arguments
}

// parseEntrypoint reads the entrypoint's own arguments, those before "--". Their syntax is that of Go's
// package flag.
func parseEntrypoint(args []string) (entrypointFlags, error) {
	end := slices.Index(args, "--")
	if end < 0 {
		return entrypointFlags{}, errors.New(`expected "--" in the entrypoint's arguments`)
	}
	flags := entrypointFlags{values: map[string]string{}}
	for i := 0; i < end; i++ {
		name, ok := strings.CutPrefix(args[i], "-")
		if !ok {
			return entrypointFlags{}, fmt.Errorf("expected a flag of the entrypoint, got %q", args[i])
		}
		name = strings.TrimPrefix(name, "-")
		name, value, inOne := strings.Cut(name, "=")
		switch {
		case inOne:
		case slices.Contains(switches(), name):
			value = "true"
		case i+1 < end:
			i++
			value = args[i]
		default:
			return entrypointFlags{}, fmt.Errorf("flag -%s of the entrypoint has no value", name)
		}
		if name == flagPostFile && !inOne {
			flags.post = i
		}
		flags.values[name] = value
	}
	if flags.post == 0 || flags.values[flagPostFile] == "" {
		return entrypointFlags{}, errors.New("expected -post_file FILE among the entrypoint's arguments")
	}
	return flags, nil
}

// has reports whether a switch is on.
func (f entrypointFlags) has(name string) bool {
	on, err := strconv.ParseBool(f.values[name])
	return err == nil && on
}

// tektonSigns is why a step with Tekton's own signer gets no other.
const tektonSigns = "Tekton's own signing with SPIRE is on"

// tektonSigns reports whether Tekton's own signer is on.
func (f entrypointFlags) tektonSigns() bool { return f.has(flagSigner) }

// TektonSigns reports whether Tekton's own signer is on in a step of a pod.
func TektonSigns(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		if !tekton.IsStep(c.Name) || !slices.Equal(c.Command, []string{tekton.Entrypoint}) {
			return false
		}
		flags, err := parseEntrypoint(c.Args)
		return err == nil && flags.tektonSigns()
	})
}
