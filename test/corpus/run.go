// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"encoding/json"
	"fmt"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// newRun returns a TaskRun of two steps that emit everything a step can emit. The names that attacks use are
// fixed; values come from the seed.
func (m *maker) newRun() *verifytest.Run {
	r := verifytest.NewRun()
	r.Steps[0].Entries = []result.RunResult{
		verifytest.TaskResult("IMAGE_DIGEST", "sha256:"+m.hex(32)),
		verifytest.TaskResult("TAGS", fmt.Sprintf(`["v1.%d.0","latest"]`, m.random.IntN(100))),
	}
	r.Steps[1].Entries = []result.RunResult{
		verifytest.TaskResult("SOURCE", fmt.Sprintf(`{"commit":"%s","url":"https://git.example/app"}`, m.hex(20))),
		{
			Key: "/tekton/steps/step-publish/artifacts/provenance.json", ResultType: result.StepArtifactsResultType,
			Value: fmt.Sprintf(
				`{"outputs":[{"name":"image","values":[{"digest":{"sha256":"%s"},"uri":"reg.example/app"}],"buildOutput":true}]}`,
				m.hex(32)),
		},
	}
	return r
}

// withScan makes the first step emit a step result, so that the verdict also depends on the declaration.
func (m *maker) withScan(r *verifytest.Run) {
	r.Spec.Steps[0].Results = []v1.StepResult{{Name: "scan", Type: v1.ResultsTypeString}}
	r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult("scan", m.hex(8)))
}

// hex returns n random bytes in hex.
func (m *maker) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.random.UintN(256)) // #nosec G115 -- below 256
	}
	return fmt.Sprintf("%x", b)
}

// sign returns the TaskRun as the API server serves it after the add-on verified it.
func (m *maker) sign(r *verifytest.Run) *v1.TaskRun {
	tr, err := r.TaskRun(m.cluster)
	if err != nil {
		m.err = err
		return &v1.TaskRun{}
	}
	verifytest.DropCarriers(tr)
	return tr
}

// signByLog does the same for values that travel by the log of Tekton's results sidecar.
func (m *maker) signByLog(r *verifytest.Run) *v1.TaskRun {
	tr, err := r.SidecarTaskRun(m.cluster)
	if err != nil {
		m.err = err
		return &v1.TaskRun{}
	}
	verifytest.DropCarriers(tr)
	return tr
}

// text returns the TaskRun as a file.
func (m *maker) text(tr any) []byte {
	data, err := json.Marshal(tr)
	if err != nil {
		m.err = err
	}
	return data
}
