// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const busybox = "docker.io/library/busybox:1.36"

// mostSigned is how many steps surely sign, however the signer comes: evidence of more is about as long as their
// share, and compresses a little better or worse each time.
const mostSigned = 5

// emitting returns a TaskRun whose last step leaves value as its result "report" and then runs the command more.
// Steps before it do nothing.
func emitting(name, value, more string, steps int) *pipelinev1.TaskRun {
	spec := &pipelinev1.TaskSpec{Results: []pipelinev1.TaskResult{{Name: "report"}}}
	for range steps - 1 {
		spec.Steps = append(spec.Steps, pipelinev1.Step{Image: busybox, Command: []string{"true"}})
	}
	spec.Steps = append(spec.Steps, pipelinev1.Step{
		Image: busybox, Command: []string{"sh", "-c", "printf %s '" + value + "' > $(results.report.path)" + more},
	})
	return &pipelinev1.TaskRun{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: pipelinev1.TaskRunSpec{TaskSpec: spec}}
}

func wantReport(t *testing.T, tr *pipelinev1.TaskRun, value string) {
	t.Helper()
	wantSucceeded(t, tr)
	for _, r := range tr.Status.Results {
		if r.Name == "report" && r.Value.StringVal == value {
			return
		}
	}
	t.Errorf("TaskRun %s: the result of %d bytes has not arrived:\n%s", tr.Name, len(value), describe(tr))
}

// testFullMessages runs a TaskRun of each number of steps, whose result fills its share of the termination messages.
func testFullMessages(t *testing.T, c *cluster, ns string, numbers ...int) {
	t.Helper()
	for _, steps := range numbers {
		share := min(4096, 12288/(steps+1)) // with the container prepare
		value := strings.Repeat("y", share-200)
		tr := c.finish(t, ns, emitting(fmt.Sprintf("of-%d", steps), value, "", steps))
		wantReport(t, tr, value)
		if steps <= mostSigned {
			wantCondition(t, tr, "True", "TaskRunResultsVerified")
		}
	}
}
