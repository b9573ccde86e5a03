// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"slices"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// LegacyAttack is a change of results that format v1 signed, which Tekton's own verifier (pkg/spire of
// v1.15.0) does not detect. A test checks that against Tekton's code.
type LegacyAttack struct {
	Name   string
	Change func([]result.RunResult) []result.RunResult
}

// LegacyResults returns the results that the attacks change. The value of NAME is also a valid manifest.
func LegacyResults() []result.RunResult {
	return []result.RunResult{
		verifytest.TaskResult("IMAGE_DIGEST", "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
		verifytest.TaskResult("NAME", "NAME"),
		verifytest.TaskResult("TAGS", `["v1.4.0","latest"]`),
		verifytest.StepResult("scan", "clean"),
		{
			Key: "/tekton/steps/step-build/artifacts/provenance.json", Value: `{"outputs":[{"name":"image"}]}`,
			ResultType: result.StepArtifactsResultType,
		},
	}
}

// LegacyAttacks lists the attacks.
func LegacyAttacks() []LegacyAttack {
	value := func(name string, change func(string) string) func([]result.RunResult) []result.RunResult {
		return func(list []result.RunResult) []result.RunResult {
			r := find(list, name)
			r.Value = change(r.Value)
			return list
		}
	}
	is := func(text string) func(string) string { return func(string) string { return text } }
	return []LegacyAttack{
		{"two results swapped with their signatures", func(list []result.RunResult) []result.RunResult {
			for _, suffix := range []string{"", signing.LegacySuffix} {
				a, b := find(list, "IMAGE_DIGEST"+suffix), find(list, "NAME"+suffix)
				a.Value, b.Value = b.Value, a.Value
			}
			return list
		}},
		{"a result's signature for the manifest's", func(list []result.RunResult) []result.RunResult {
			find(list, signing.CarrierManifest).Value = find(list, "NAME").Value
			find(list, signing.CarrierManifestSignature).Value = find(list, "NAME"+signing.LegacySuffix).Value
			return drop(list, "IMAGE_DIGEST", "IMAGE_DIGEST.sig", "TAGS", "TAGS.sig")
		}},
		{"an array flattened to a string", value("TAGS", is("v1.4.0,latest"))},
		{"a string made an array", value("NAME", is(`["NAME"]`))},
		{"an array made an object", value("TAGS", is(`{"v1.4.0":"latest"}`))},
		{"a signature without a result", func(list []result.RunResult) []result.RunResult {
			return append(list, verifytest.TaskResult("evil.sig", "unsigned"))
		}},
		{"a result that copies another's value and signature", func(list []result.RunResult) []result.RunResult {
			return append(list,
				verifytest.TaskResult("APPROVED", find(list, "NAME").Value),
				verifytest.TaskResult("APPROVED.sig", find(list, "NAME"+signing.LegacySuffix).Value))
		}},
		{"a name twice", func(list []result.RunResult) []result.RunResult {
			return append([]result.RunResult{verifytest.TaskResult("NAME", "evil")}, list...)
		}},
		{"a step result changed", value("scan", is("infected"))},
		{"a step result added", func(list []result.RunResult) []result.RunResult {
			return append(list, verifytest.StepResult("approved", "yes"))
		}},
		{
			"artifacts changed", value("/tekton/steps/step-build/artifacts/provenance.json",
				is(`{"outputs":[{"name":"evil"}]}`)),
		},
	}
}

// find returns the last entry called name.
func find(list []result.RunResult, name string) *result.RunResult {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Key == name {
			return &list[i]
		}
	}
	panic("no entry " + name)
}

func drop(list []result.RunResult, names ...string) []result.RunResult {
	return slices.DeleteFunc(list, func(r result.RunResult) bool { return slices.Contains(names, r.Key) })
}
