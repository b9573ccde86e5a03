// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// resultsSidecar is the name of Tekton's container that reads results and writes them to its log (Tekton
// Pipelines, pkg/apis/pipeline), and sidecarLogs is the entrypoint's mode for that.
const (
	resultsSidecar = tekton.ResultsSidecar
	sidecarLogs    = "sidecar-logs"
	messages       = "termination-message"
)

// sidecarArgs are the arguments of the results sidecar, which name what it will read.
type sidecarArgs struct {
	resultsDir  string
	results     []string            // names of the task's results
	stepResults map[string][]string // names of each step's results, by container
	artifacts   []string            // containers of the steps whose artifacts it reads
}

// setValues passes the files that Tekton's results sidecar reads to the steps, if results travel by its log.
func setValues(pod *corev1.Pod, steps []stepContainer, options step.Options) error {
	mode := steps[0].flags.values[flagResultFrom]
	for _, s := range steps {
		if got := s.flags.values[flagResultFrom]; got != mode || (got != "" && got != messages && got != sidecarLogs) {
			return skipped("container %s: expected -%s %s or %s, as in every step, got %q",
				s.container.Name, flagResultFrom, messages, sidecarLogs, got)
		}
	}
	if mode != sidecarLogs {
		return nil
	}
	if options.Format != signing.FormatV2 {
		return skipped("results travel by the log of a sidecar (results-from: sidecar-logs), which only signing-format " +
			"v2 signs")
	}
	sidecar, err := sidecarOf(pod)
	if err != nil {
		return skipped("%v", err)
	}
	for i := range steps {
		s := &steps[i]
		v, err := sidecar.valuesOf(s, i == len(steps)-1)
		if err != nil {
			return skipped("container %s: %v", s.container.Name, err)
		}
		s.values = v
	}
	return nil
}

// sidecarOf returns the arguments of the pod's results sidecar, which is an init container if Tekton uses
// Kubernetes sidecars.
func sidecarOf(pod *corev1.Pod) (sidecarArgs, error) {
	var found []corev1.Container
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == resultsSidecar {
			found = append(found, c)
		}
	}
	if len(found) != 1 || len(found[0].Command) == 0 {
		return sidecarArgs{}, fmt.Errorf("expected one container %s with a command, got %d of them", resultsSidecar,
			len(found))
	}
	args, err := parseSidecar(slices.Concat(found[0].Command[1:], found[0].Args))
	if err != nil {
		return sidecarArgs{}, fmt.Errorf("arguments of container %s: %w", resultsSidecar, err)
	}
	return args, nil
}

// parseSidecar reads the arguments as the sidecar does (Tekton Pipelines, cmd/sidecarlogresults).
func parseSidecar(args []string) (sidecarArgs, error) {
	fs := flag.NewFlagSet(resultsSidecar, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	dir := fs.String("results-dir", pipeline.DefaultResultPath, "")
	results := fs.String("result-names", "", "")
	stepResults := fs.String("step-results", "", "")
	artifacts := fs.String("step-names", "", "")
	fs.Bool("kubernetes-sidecar-mode", false, "")
	if err := fs.Parse(args); err != nil {
		return sidecarArgs{}, err
	}
	s := sidecarArgs{resultsDir: *dir, results: list(*results), artifacts: list(*artifacts)}
	if err := json.Unmarshal([]byte(*stepResults), &s.stepResults); err != nil {
		return sidecarArgs{}, fmt.Errorf("-step-results: %w", err)
	}
	return s, nil
}

// list splits names joined by commas.
func list(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, ",")
}

// valuesOf returns what the sidecar reads from one step.
func (a sidecarArgs) valuesOf(s *stepContainer, last bool) (*step.Values, error) {
	v := &step.Values{
		StepDir:     s.flags.values[flagStepDir],
		StepResults: unique(a.stepResults[s.container.Name]),
		Artifacts:   slices.Contains(a.artifacts, s.container.Name),
	}
	if v.StepDir == "" {
		return nil, fmt.Errorf("expected -%s FOLDER among the entrypoint's arguments", flagStepDir)
	}
	if last {
		v.ResultsDir, v.Results = a.resultsDir, unique(a.results)
	}
	if err := step.CheckFileNames(v.StepResults); err != nil {
		return nil, err
	}
	return v, step.CheckFileNames(v.Results)
}

// unique returns names without repetitions, because the sidecar reads a file once.
func unique(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
