// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// maxSteps is how many steps Tekton and evidence can count.
const maxSteps = 255

func hash(seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return hex.EncodeToString(sum[:])
}

// OfTaskRun returns the subject that a TaskRun is.
func OfTaskRun(tr *v1.TaskRun, place string) *Subject {
	s := &Subject{
		Kind: KindTaskRun, Namespace: tr.Namespace, Name: tr.Name, Place: place, TaskRun: tr.Name,
		Pod: cmp.Or(tr.Status.PodName, podName(tr.Name)), Account: tr.Spec.ServiceAccountName,
	}
	switch {
	case tr.Status.TaskSpec != nil:
		s.Spec = *tr.Status.TaskSpec
	case tr.Spec.TaskSpec != nil:
		s.Spec = *tr.Spec.TaskSpec
	default:
		s.Unresolved = "Tekton has not resolved its Task"
		return s
	}
	if tr.Status.CompletionTime == nil || len(tr.Status.Steps) != len(s.Spec.Steps) {
		s.Note = "it has not run: the lengths of its results are assumed"
		return s
	}
	if len(tr.Status.Steps) > maxSteps {
		s.Unresolved = fmt.Sprintf("it has more than %d steps", maxSteps)
		return s
	}
	if more := len(tr.Status.Sidecars) - len(s.Spec.Sidecars); more > 0 {
		s.More = more
		for _, c := range tr.Status.Sidecars {
			if c.Name == "tekton-log-results" || c.Container == "sidecar-tekton-log-results" {
				s.More--
			}
		}
	}
	s.readSteps(tr)
	return s
}

// readSteps reads what the steps left. Tekton stores messages without its own entries.
func (s *Subject) readSteps(tr *v1.TaskRun) {
	for i, state := range tr.Status.Steps {
		ran := ranStep{name: state.Container, internal: []result.RunResult{inject.Started()}}
		if state.Terminated != nil {
			if err := ran.read(state.Terminated.Message); err != nil {
				s.Unresolved = fmt.Sprintf("the message of %s cannot be read: perhaps the kubelet cut it, and results were lost. "+
					"Name its Task, with --result-bytes", state.Container)
				s.ran = nil
				return
			}
			if s.Spec.Steps[i].OnError == v1.Continue && state.Terminated.ExitCode != 0 {
				ran.internal = append(ran.internal, result.RunResult{
					Key: "ExitCode", Value: strconv.Itoa(int(state.Terminated.ExitCode)),
					ResultType: result.InternalTektonResultType,
				})
			}
		}
		s.ran = append(s.ran, ran)
	}
	s.readLog(tr)
}

// read reads the message of a step in a TaskRun's status.
func (r *ranStep) read(message string) error {
	if message == "" {
		return nil
	}
	all, err := termination.ParseMessage(zap.NewNop().Sugar(), message)
	if err != nil {
		return err
	}
	isV2 := slices.ContainsFunc(all, func(e result.RunResult) bool {
		return e.Key == signing.CarrierManifest && strings.HasPrefix(e.Value, "v2:")
	})
	for _, entry := range all {
		switch {
		case signing.IsCarrier(entry), !isV2 && signing.IsLegacyCarrier(entry.Key):
			r.evidence = append(r.evidence, entry)
		case signing.IsSignedKind(entry.ResultType):
			r.entries = append(r.entries, entry)
		}
	}
	return nil
}

// readLog adds the results of the status that are in no message: they travelled by log. In messages they would be in
// that of the last step.
func (s *Subject) readLog(tr *v1.TaskRun) {
	known := map[string]bool{}
	for _, r := range s.ran {
		for _, e := range r.entries {
			known[e.Key] = true
		}
	}
	for _, r := range tr.Status.Results {
		if known[r.Name] || signing.IsReserved(r.Name) || len(s.ran) == 0 {
			continue
		}
		value := r.Value.StringVal
		if r.Value.Type != v1.ParamTypeString {
			text, err := json.Marshal(r.Value)
			if err != nil {
				continue // Tekton itself could not store such a value
			}
			value = string(text)
		}
		last := &s.ran[len(s.ran)-1]
		last.log = append(last.log, result.RunResult{Key: r.Name, Value: value, ResultType: result.TaskRunResultType})
	}
}
