// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/merge"
)

// Caps on what is replayed. The time of Tekton's merge grows with the product of steps and promoted results,
// and with the square of the artifacts. A pod's messages can never reach these figures, but a writer of the
// status can.
const (
	maxSteps          = math.MaxUint8 // as many as evidence can count
	maxPromotions     = 1 << 15       // declared results that promote a step result, times steps
	maxArtifactValues = 256           // of all steps together
	inAttempts        = 8             // times as much in all attempts together
	maxDeclarations   = 1 << 20       // declared results times steps, in all attempts together
	maxName           = 253           // bytes in what Kubernetes takes for a name
	maxReason         = 1024          // and in a condition's reason
)

// tooManySteps reports whether the TaskRun has more steps than evidence can count, and adds a check if so.
func tooManySteps(r run, found *findings) bool {
	n := len(r.tr.Status.Steps)
	if n <= maxSteps {
		return false
	}
	found.fail(CheckPosition, fmt.Sprintf("at most %d steps", maxSteps), count(n, "step"), "no pod has that many steps")
	return true
}

// tooLong reports whether the TaskRun has names that are longer than Kubernetes allows, and adds a check if
// so. Each name is compared once for every step.
func tooLong(r run, found *findings) bool {
	s := &r.tr.Status
	long := func(id CheckID, what, name string, limit int) bool {
		if len(name) <= limit {
			return false
		}
		found.fail(id, fmt.Sprintf("%s of at most %d bytes", what, limit), fmt.Sprintf("%d bytes", len(name)),
			"Kubernetes has no names of that length")
		return true
	}
	reason := ""
	if c := s.GetCondition(apis.ConditionSucceeded); c != nil {
		reason = c.Reason
	}
	return long(CheckTaskRunUID, "a UID", string(r.tr.UID), maxName) ||
		long(CheckPod, "a name", r.tr.Name, maxName) || long(CheckPod, "a namespace", r.tr.Namespace, maxName) ||
		long(CheckPod, "the name of a pod", s.PodName, maxName) ||
		long(CheckToken, "the name of a service account", r.tr.Spec.ServiceAccountName, maxName) ||
		long(CheckSucceeded, "the reason of Succeeded", reason, maxReason)
}

// replayable reports whether the merge can be replayed in reasonable time.
func (r *replay) replayable(declared *v1.TaskSpec) bool {
	tooMany := func(id CheckID, limit, n int, what string) bool {
		if n <= limit {
			return false
		}
		r.found.add(Check{
			ID: id, Status: Unknown, Expected: fmt.Sprintf("at most %d %s", limit, what), Got: fmt.Sprint(n),
			Message: "there are too many of them to replay how Tekton merges the steps' messages",
		})
		return true
	}
	promoted := 0
	for _, r := range declared.Results {
		if r.Value != nil {
			promoted++
		}
	}
	r.budget.declarations += len(declared.Results) * len(r.steps)
	r.budget.promotions += promoted * len(r.steps)
	r.budget.artifactValues += min(r.artifactValues(), maxArtifactValues+1)
	return !tooMany(CheckDeclaration, maxDeclarations, r.budget.declarations,
		"declared results times steps of all attempts") &&
		!tooMany(CheckDeclaration, maxPromotions, promoted*len(r.steps), "promoted results times steps") &&
		!tooMany(CheckDeclaration, inAttempts*maxPromotions, r.budget.promotions,
			"promoted results times steps of all attempts") &&
		!tooMany(CheckArtifacts, maxArtifactValues, r.artifactValues(), "values of artifacts") &&
		!tooMany(CheckArtifacts, inAttempts*maxArtifactValues, r.budget.artifactValues, "values of artifacts of all attempts")
}

// artifactValues counts the values in the artifacts that the steps emitted, as Tekton reads them.
func (r *replay) artifactValues() int {
	n, byLog := 0, r.units.sidecarLogs()
	add := func(lists ...[]v1.Artifact) {
		for _, list := range lists {
			for _, artifact := range list {
				n += 1 + len(artifact.Values)
			}
		}
	}
	for _, s := range r.steps {
		if byLog {
			add(s.state.Inputs, s.state.Outputs)
		}
		for _, a := range artifactsIn(s.results) {
			add(a.Inputs, a.Outputs)
		}
	}
	return n
}

// artifactsIn returns the artifacts in the entries of a message, as Tekton reads them.
func artifactsIn(entries []result.RunResult) []v1.Artifacts {
	var all []v1.Artifacts
	for _, e := range entries {
		if e.ResultType != result.StepArtifactsResultType && e.ResultType != result.TaskRunArtifactsResultType {
			continue
		}
		var a v1.Artifacts
		_ = json.Unmarshal([]byte(e.Value), &a) // Tekton also keeps what it read before an error
		all = append(all, a)
	}
	return all
}

// maxLogged caps the values in the log of the results sidecar.
const maxLogged = 4096

// mergeable reports whether the messages that the kubelet reported can be merged in reasonable time. They are
// not compared with the TaskRun yet, and a short compressed message can hold thousands of artifacts.
func mergeable(reported []corev1.ContainerStatus, log merge.Log) bool {
	size, values := 0, 0
	fits := func(entries []result.RunResult) bool {
		size += sizeOf(entries)
		for _, a := range artifactsIn(entries) {
			for _, artifact := range slices.Concat(a.Inputs, a.Outputs) {
				values += 1 + len(artifact.Values)
			}
		}
		return size <= maxMessages && values <= maxArtifactValues
	}
	for _, c := range reported {
		if c.State.Terminated == nil {
			continue
		}
		entries, err := termination.ParseMessage(zap.NewNop().Sugar(), c.State.Terminated.Message)
		if err != nil {
			continue // which is not merged
		}
		if !fits(entries) {
			return false
		}
	}
	return len(log) <= maxLogged && fits(log)
}
