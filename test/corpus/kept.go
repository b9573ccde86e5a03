// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// keptMaterial makes cases of archives that dropped the steps' messages and kept the signing material in
// status.results.
func (m *maker) keptMaterial() {
	for scheme, how := range sorted(map[string]signing.Scheme{
		"payload": signing.SchemeOIDCPayloadBound, "key": signing.SchemeOIDCKeyBound, "svid": signing.SchemeSPIRE,
	}) {
		for name, c := range sorted(keptCases()) {
			r := m.newRun()
			r.Scheme = how
			r.Steps, r.Spec.Steps = r.Steps[:1], r.Spec.Steps[:1]
			r.Steps[0].Entries, r.Spec.Results = r.Steps[0].Entries[:c.results], r.Spec.Results[:c.results]
			tr, err := r.TaskRun(m.cluster)
			if err != nil {
				m.err = err
				return
			}
			tr.Status.Steps[0].Terminated.Message = ""
			if c.tamper != nil {
				c.tamper(tr)
			}
			m.add("kept/"+scheme+"/"+name, m.text(tr), c.want)
		}
	}
}

// keptCase is such an archive, with a string, or with a string and an array.
type keptCase struct {
	results int
	tamper  func(*v1.TaskRun)
	want    Want
}

func keptCases() map[string]keptCase {
	without := func(name string) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			tr.Status.Results = slices.DeleteFunc(tr.Status.Results, func(r v1.TaskRunResult) bool { return r.Name == name })
		}
	}
	digest := func(value string) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			i := slices.IndexFunc(tr.Status.Results, func(r v1.TaskRunResult) bool { return r.Name == "IMAGE_DIGEST" })
			tr.Status.Results[i].Value.StringVal = value
		}
	}
	payload, undecided := failed(verify.CheckPayload), missing(verify.CheckPayload)
	return map[string]keptCase{
		"a string":              {results: 1, want: verified()},
		"a string and an array": {results: 2, want: verified()},
		"another value":         {results: 1, want: payload, tamper: digest("x")},
		"another value of two":  {results: 2, want: undecided, tamper: digest("x")},
		"a result less":         {results: 1, want: undecided, tamper: without("IMAGE_DIGEST")},
		"the manifest is gone":  {results: 1, want: failed(verify.CheckFormat), tamper: without(signing.CarrierManifest)},
		"all material is gone":  {results: 1, want: unsigned(), tamper: verifytest.DropCarriers},
		"another exit code": {
			results: 1, want: payload, tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 },
		},
		"another container": {
			results: 1, want: payload, tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Container = "step-x" },
		},
		"passed off as another": {
			results: 1, want: failed(verify.CheckTaskRunUID),
			tamper: func(tr *v1.TaskRun) { tr.UID = "11111111-2222-4333-8444-555555555555" },
		},
		"a name twice": {
			results: 1, want: missing(verify.CheckCoverage),
			tamper: func(tr *v1.TaskRun) { tr.Status.Results = append(tr.Status.Results, tr.Status.Results[0]) },
		},
		"a step more": {
			results: 1, want: missing(verify.CheckCoverage),
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps = append(tr.Status.Steps, tr.Status.Steps[0]) },
		},
		"a step's result more": {results: 1, want: undecided, tamper: func(tr *v1.TaskRun) {
			tr.Status.Steps[0].Results = []v1.TaskRunStepResult{{Name: "x", Type: "string", Value: *v1.NewStructuredValues("x")}}
		}},
		"artifacts more": {results: 1, want: failed(verify.CheckArtifacts), tamper: func(tr *v1.TaskRun) {
			tr.Status.Artifacts = &v1.Artifacts{Outputs: []v1.Artifact{{Name: "image", Values: []v1.ArtifactValue{{Uri: "x"}}}}}
		}},
	}
}
