// SPDX-License-Identifier: Apache-2.0

package merge

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tektoncd/pipeline/pkg/result"
)

// Log is what Tekton's results sidecar logged, in order (results-from: sidecar-logs). Tekton's limit for a
// line, max-result-size, is not applied, because no status contains what Tekton refused.
type Log []result.RunResult

// TaskResult adds a task result with the content of its file.
func (l *Log) TaskResult(name, value string) { l.add(result.TaskRunResultType, name, value) }

// StepResult adds a result of the step in container.
func (l *Log) StepResult(container, name, value string) {
	l.add(result.StepResultType, container+separator+name, value)
}

// StepArtifacts adds the artifacts of the step in container, as JSON.
func (l *Log) StepArtifacts(container, value string) {
	l.add(result.StepArtifactsResultType, container, value)
}

// separator separates the container and the name of a step's result.
const separator = "."

// ParseLog reads the sidecar's log, a JSON object a line, as Tekton does. It returns an error if Tekton takes none of
// it.
func ParseLog(text []byte) (Log, error) {
	kinds := map[string]result.ResultType{
		"task": result.TaskRunResultType, "step": result.StepResultType,
		"stepArtifact": result.StepArtifactsResultType, "taskArtifact": result.TaskRunArtifactsResultType,
	}
	var log Log
	for line := range strings.Lines(string(text)) {
		var logged struct{ Name, Value, Type string }
		if err := json.Unmarshal([]byte(line), &logged); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(log)+1, err)
		}
		kind, ok := kinds[logged.Type]
		if !ok || kind == result.StepResultType && !strings.Contains(logged.Name, separator) {
			return nil, fmt.Errorf("line %d: expected a value of a task or of a step, got type %q", len(log)+1, logged.Type)
		}
		log = append(log, result.RunResult{Key: logged.Name, Value: logged.Value, ResultType: kind})
	}
	return log, nil
}

func (l *Log) add(kind result.ResultType, key, value string) {
	*l = append(*l, result.RunResult{Key: asJSON(key), Value: asJSON(value), ResultType: kind})
}

// asJSON returns text as it is after encoding and decoding as JSON: bytes that are not UTF-8 are replaced.
func asJSON(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return string([]rune(text))
}

func (l Log) ofType(kind result.ResultType) []result.RunResult {
	var entries []result.RunResult
	for _, e := range l {
		if e.ResultType == kind {
			entries = append(entries, e)
		}
	}
	return entries
}

// ofStep returns the results of one container's step. The names of a pod's containers have no dots.
func (l Log) ofStep(container string) []result.RunResult {
	var entries []result.RunResult
	for _, e := range l {
		step, name, _ := strings.Cut(e.Key, separator)
		if e.ResultType == result.StepResultType && step == container {
			e.Key = name
			entries = append(entries, e)
		}
	}
	return entries
}
