// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"cmp"
	"slices"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// legacyWants returns the verdict for each of LegacyAttacks. Attacks that cannot be detected are VERIFIED,
// with assurance legacy and a caveat that names the attack. With the minimum format v2, they fail.
func legacyWants() map[string]Want {
	return map[string]Want{
		"two results swapped with their signatures":          verified(),
		"a result's signature for the manifest's":            failed(verify.CheckSignature),
		"an array flattened to a string":                     verified(),
		"a string made an array":                             verified(),
		"an array made an object":                            verified(),
		"a signature without a result":                       failed(verify.CheckFormat),
		"a result that copies another's value and signature": failed(verify.CheckPayload),
		// Tekton keeps the last one, which is the signed one. A stored message with both is not valid.
		"a name twice":          verified(),
		"a step result changed": missing(verify.CheckStepResults),
		"a step result added":   missing(verify.CheckStepResults),
		"artifacts changed":     missing(verify.CheckArtifacts),
	}
}

// legacyAttacks returns the attacks that Tekton's own verifier accepts, and some that it refuses.
func legacyAttacks() []attack {
	var attacks []attack
	for _, a := range LegacyAttacks() {
		want := legacyWants()[a.Name]
		attacks = append(attacks, attack{name: a.Name, want: want,
			sign: rewritten(a.Change, want.Verdict == verify.Indeterminate)})
	}
	task := func(change func([]result.RunResult) []result.RunResult) func(*verifytest.Run) {
		return rewritten(change, false)
	}
	value := func(name, text string) func(*verifytest.Run) {
		return task(func(list []result.RunResult) []result.RunResult {
			find(list, name).Value = text
			return list
		})
	}
	without := func(names ...string) func(*verifytest.Run) {
		return task(func(list []result.RunResult) []result.RunResult { return drop(list, names...) })
	}
	payload, signature := failed(verify.CheckPayload), failed(verify.CheckSignature)
	return append(attacks, []attack{
		{name: "a value changed", want: payload, sign: value("IMAGE_DIGEST", "sha256:00")},
		{name: "a result removed", want: payload, sign: without("NAME", "NAME.sig")},
		{name: "a result and its name in the manifest removed", want: payload,
			sign: task(func(list []result.RunResult) []result.RunResult {
				find(list, signing.CarrierManifest).Value = "IMAGE_DIGEST,TAGS"
				return drop(list, "NAME", "NAME.sig")
			})},
		{name: "a signature removed", want: signature, sign: without("NAME.sig")},
		{name: "a signature broken", want: payload, sign: value("NAME.sig", "AAAA")},
		{name: "a signature with a line break", want: signature, sign: task(func(list []result.RunResult) []result.RunResult {
			find(list, "NAME.sig").Value += "\n"
			return list
		})},
		{name: "the manifest emptied", want: payload, sign: value(signing.CarrierManifest, "")},
		{
			name: "a name twice in the manifest", want: failed(verify.CheckFormat),
			sign: value(signing.CarrierManifest, "IMAGE_DIGEST,NAME,NAME,TAGS"),
		},
		{
			name: "a name in the manifest that is none", want: failed(verify.CheckFormat),
			sign: value(signing.CarrierManifest, "IMAGE_DIGEST, NAME,TAGS"),
		},
		{name: "the manifest removed", want: failed(verify.CheckFormat), sign: without(signing.CarrierManifest)},
		{
			name: "the manifest's signature removed", want: failed(verify.CheckFormat),
			sign: without(signing.CarrierManifestSignature),
		},
		{
			name: "a reason in the manifest's place", want: failed(verify.CheckFormat),
			sign: value(signing.CarrierManifest, "none:too-long"),
		},
	}...)
}

// rewritten lets the first step emit LegacyResults, all or only the task results, and changes its message
// after it signed. The TaskRun shows what follows from the changed message.
func rewritten(change func([]result.RunResult) []result.RunResult, all bool) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		r.Spec.Results = nil
		r.Steps[0].Entries = LegacyResults()
		if !all {
			onlyTaskResults(r)
		}
		r.Steps[0].Message = func(list []result.RunResult) any {
			changed := change(slices.Clone(list))
			slices.SortStableFunc(changed, func(a, b result.RunResult) int { return cmp.Compare(a.Key, b.Key) })
			return changed
		}
	}
}
