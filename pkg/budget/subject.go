// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/kmeta"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Kinds of objects.
const (
	KindTask       = "Task"
	KindPipeline   = "Pipeline"
	KindTaskRun    = "TaskRun"
	KindStepAction = "StepAction"
)

// Subject is a Task whose pod is simulated: by itself, in a Pipeline, or as a TaskRun ran it.
type Subject struct {
	Kind, Namespace, Name string
	PipelineTask          string // in a Pipeline
	Place                 string // file and position; empty for an object of a cluster
	Note                  string // what is not certain
	Spec                  v1.TaskSpec
	Unresolved            string // why Spec is not known; empty if it is
	Mode                  settings.Enforcement
	TaskRun               string // the name of the TaskRun
	Pod                   string
	Account               string
	Node                  string // on which the pod ran; empty if not known
	More                  int    // containers that others added to the pod

	ran   []ranStep // of a TaskRun; nil for others
	bytes int       // assumed for each declared value
}

// ranStep is what one step left.
type ranStep struct {
	name     string
	internal []result.RunResult
	entries  []result.RunResult // results and artifacts
	evidence []result.RunResult
	log      []result.RunResult // results that travelled by log
}

// runName returns the name that tkn gives a run, as long as a usual one.
func runName(name string) string { return name + "-run-xxxxx" }

// podName returns the name of a TaskRun's pod.
func podName(taskRun string) string { return kmeta.ChildName(taskRun, "-pod") }

// pod returns a model of the pod, signed in a way or not yet.
func (s *Subject) pod(w Way) *corev1.Pod {
	shape := inject.ShapeOf(s.Spec)
	shape.Compress, shape.SidecarLogs = w.Compression == CompressionAlways, w.ResultsFrom == SidecarLogs
	shape.Sidecars += s.More
	release := firstThatReads
	if w.Compression == CompressionOff {
		release = ""
	}
	pod := inject.ModelOf(cmp.Or(s.Namespace, "default"), inject.ReleaseImage(release), shape)
	pod.Name, pod.Spec.ServiceAccountName = s.Pod, cmp.Or(s.Account, "default")
	return pod
}

// Count corrects the number of containers by that of the pod as it ran: other webhooks may have added some.
func (s *Subject) Count(stock int) {
	if stock > 0 {
		s.More = 0
		s.More = max(stock-containers(s.pod(Way{})), 0)
	}
}

// firstThatReads is a version of Tekton that reads compressed messages regardless of its settings.
const firstThatReads = "v1.13.0"

// name returns the name of a step's container, empty for that of the model.
func (s *Subject) name(i int) string {
	switch {
	case i < len(s.ran):
		return s.ran[i].name
	case i < len(s.Spec.Steps):
		return "step-" + cmp.Or(s.Spec.Steps[i].Name, fmt.Sprintf("unnamed-%d", i))
	}
	return ""
}

// internal returns the entries that Tekton itself leaves in the message of a step.
func (s *Subject) internal(i int) []result.RunResult {
	if i < len(s.ran) {
		return s.ran[i].internal
	}
	return []result.RunResult{inject.Started()}
}

// entries returns the results in the message of a step. A step repeats what the ones before it left, so the last one
// has all declared results.
func (s *Subject) entries(i int, w Way) []result.RunResult {
	if i < len(s.ran) {
		if w.ResultsFrom == SidecarLogs {
			return nil
		}
		return slices.Concat(s.ran[i].entries, s.ran[i].log)
	}
	if w.ResultsFrom == SidecarLogs {
		return nil
	}
	var entries []result.RunResult
	if i < len(s.Spec.Steps) {
		for _, r := range s.Spec.Steps[i].Results {
			entries = append(entries, s.declared(r.Name, result.StepResultType))
		}
	}
	if i == len(s.Spec.Steps)-1 {
		for _, r := range s.Spec.Results {
			if r.Value == nil {
				entries = append(entries, s.declared(r.Name, result.TaskRunResultType))
			}
		}
	}
	return entries
}

// declared returns a result of the assumed length.
func (s *Subject) declared(name string, kind result.ResultType) result.RunResult {
	return result.RunResult{Key: name, Value: digits(name, s.bytes), ResultType: kind}
}

// digits returns n hexadecimal digits, which compress like a digest.
func digits(seed string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(hash(fmt.Sprint(seed, i)))
	}
	return b.String()[:n]
}

// seen returns the results of a subject and the bytes of their values.
func (s *Subject) seen(w Way) (number, bytes int) {
	names := map[string]int{}
	for i := range max(len(s.ran), len(s.Spec.Steps)) {
		for _, r := range s.entries(i, w) {
			names[fmt.Sprint(r.ResultType, r.Key)] = len(r.Value)
		}
	}
	for _, n := range names {
		bytes += n
	}
	return len(names), bytes
}
