// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// message changes the termination message of a step.
func message(step int, change func(string) string) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) {
		t := tr.Status.Steps[step].Terminated
		t.Message = change(t.Message)
	}
}

// entries changes the entries of a step's message.
func entries(step int, change func([]result.RunResult) []result.RunResult) func(*v1.TaskRun) {
	return message(step, func(text string) string {
		var list []result.RunResult
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			panic(err) // the virtual cluster wrote it
		}
		data, err := json.Marshal(change(list))
		if err != nil {
			panic(err)
		}
		return string(data)
	})
}

// entry changes the entry called name in a step's message.
func entry(step int, name string, change func(*result.RunResult)) func(*v1.TaskRun) {
	return entries(step, func(list []result.RunResult) []result.RunResult {
		if i := slices.IndexFunc(list, func(r result.RunResult) bool { return r.Key == name }); i >= 0 {
			change(&list[i])
		}
		return list
	})
}

// without removes the entries called names.
func without(step int, names ...string) func(*v1.TaskRun) {
	return entries(step, func(list []result.RunResult) []result.RunResult {
		return slices.DeleteFunc(list, func(r result.RunResult) bool { return slices.Contains(names, r.Key) })
	})
}

// deflate returns text as Tekton compresses messages.
func deflate(text []byte) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err) // the level is valid
	}
	_, _ = w.Write(text) // a buffer returns no errors
	_ = w.Close()
	return "tknz:" + base64.RawStdEncoding.EncodeToString(b.Bytes())
}

// compressed compresses the messages of both steps.
func compressed(tr *v1.TaskRun) {
	for i := range tr.Status.Steps {
		message(i, func(m string) string { return deflate([]byte(m)) })(tr)
	}
}

// markCompressed records that the entrypoints were told to compress, as Tekton's controller does.
func markCompressed(tr *v1.TaskRun) {
	tr.Status.Provenance = &v1.Provenance{FeatureFlags: &config.FeatureFlags{EnableTerminationMessageCompression: true}}
}

// both applies several changes.
func both(changes ...func(*v1.TaskRun)) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) {
		for _, change := range changes {
			change(tr)
		}
	}
}

// setValue sets the shown value of a result to that of its changed entry.
func setValue(text string) func(*v1.TaskRun) {
	return setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
		r[0].Value.StringVal = text
		return r
	})
}

// messageAttacks change a step's message and, if that helps the attacker, the results.
func messageAttacks() []attack {
	payload := failed(verify.CheckPayload)
	return []attack{
		{name: "value and result changed alike", want: payload, tamper: both(
			entry(0, "IMAGE_DIGEST", func(r *result.RunResult) { r.Value = "sha256:00" }), setValue("sha256:00"))},
		{name: "entry and result removed", want: payload, tamper: both(without(0, "IMAGE_DIGEST"),
			setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult { return r[1:] }))},
		{name: "entry and result added", want: payload, tamper: both(
			entries(0, func(list []result.RunResult) []result.RunResult {
				return append([]result.RunResult{verifytest.TaskResult("A", "x")}, list...)
			}), setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
				return append(r, v1.TaskRunResult{Name: "A", Type: "string", Value: *v1.NewStructuredValues("x")})
			}))},
		{name: "task result made a step result", want: payload, tamper: entry(0, "IMAGE_DIGEST", func(r *result.RunResult) {
			r.ResultType = result.StepResultType
		})},
		{name: "names of two values swapped", want: payload,
			tamper: entries(0, func(list []result.RunResult) []result.RunResult {
				i := slices.IndexFunc(list, func(r result.RunResult) bool { return r.Key == "IMAGE_DIGEST" })
				j := slices.IndexFunc(list, func(r result.RunResult) bool { return r.Key == "TAGS" })
				list[i].Value, list[j].Value = list[j].Value, list[i].Value
				return list
			})},
		{name: "array's spelling changed", want: payload, tamper: entry(0, "TAGS", func(r *result.RunResult) {
			r.Value = strings.Replace(r.Value, ",", ", ", 1)
		})},
	}
}

// formAttacks break a step's message.
func formAttacks() []attack {
	bad := failed(verify.CheckMessage)
	replace := func(old, new string) func(*v1.TaskRun) {
		return message(0, func(m string) string { return strings.Replace(m, old, new, 1) })
	}
	return []attack{
		{name: "compressed although Tekton did not say so", want: bad, tamper: compressed},
		{name: "compressed as Tekton said", want: verified(), tamper: both(compressed, markCompressed)},
		{name: "compressed to a bomb", want: bad, tamper: both(markCompressed, message(0, func(string) string {
			return deflate(bytes.Repeat([]byte(" "), 3<<20))
		}))},
		{name: "compressed with a line break", want: bad, tamper: both(markCompressed, message(0, func(m string) string {
			return deflate([]byte(m)) + "\n"
		}))},
		{
			name: "compressed and changed", want: bad,
			tamper: both(markCompressed, message(0, func(string) string { return "tknz:AAAA" })),
		},
		{name: "cut off", want: bad, tamper: message(0, func(m string) string { return m[:len(m)-40] })},
		{name: "cut off, results gone", want: bad, tamper: both(message(0, func(m string) string { return m[:len(m)-40] }),
			setResults(func([]v1.TaskRunResult) []v1.TaskRunResult { return nil }))},
		{name: "plain text", want: bad, tamper: message(0, func(string) string { return "done" })},
		{name: "unsorted", want: bad, tamper: entries(0, func(list []result.RunResult) []result.RunResult {
			slices.Reverse(list)
			return list
		})},
		{
			name: "entry twice", want: bad, tamper: entries(0,
				func(list []result.RunResult) []result.RunResult { return append(list, list[len(list)-1]) }),
		},
		{name: "internal entry", want: bad, tamper: replace(`[{`, `[{"key":"A","value":"","type":3},{`)},
		{name: "unknown type", want: bad, tamper: replace(`"type":1`, `"type":9`)},
		{name: "type by name", want: bad, tamper: replace(`"type":1`, `"type":"TaskRunResult"`)},
		{name: "unknown member", want: bad, tamper: replace(`"type":1`, `"type":1,"x":1`)},
		{name: "member in another case", want: bad, tamper: replace(`"value"`, `"VALUE"`)},
		{name: "member twice", want: bad, tamper: replace(`"key":"TAGS"`, `"key":"OLD","key":"TAGS"`)},
		{name: "trailing data", want: bad, tamper: message(0, func(m string) string { return m + " []" })},
		{
			name: "not a list", want: bad, tamper: message(0, func(string) string { return `{"key":"a","value":"b","type":1}` }),
		},
		{name: "empty list", want: bad, tamper: message(0, func(string) string { return "[]" })},
	}
}

// coverageAttacks remove evidence or steps.
func coverageAttacks() []attack {
	carriers := carrierNames()
	coverage, position := failed(verify.CheckCoverage), failed(verify.CheckPosition)
	none := func(reason signing.UnsignedReason) func(*verifytest.Run) {
		return func(r *verifytest.Run) { r.Steps[0].Unsigned = reason }
	}
	return []attack{
		{name: "one step's evidence removed", want: coverage, tamper: without(0, carriers...)},
		{name: "all evidence removed", want: unsigned(), tamper: both(without(0, carriers...), without(1, carriers...))},
		{name: "one message removed", want: coverage, tamper: message(0, func(string) string { return "" })},
		{name: "one step could not sign", evidence: true, want: unsigned(), sign: none(signing.UnsignedTokenDenied)},
		{name: "an unknown reason not to sign", want: failed(verify.CheckFormat), sign: none("because")},
		{name: "evidence replaced by a reason", evidence: true, want: unsigned(), tamper: both(without(0, carriers...),
			entries(0, func(list []result.RunResult) []result.RunResult {
				list = append(list, signing.UnsignedManifest(signing.UnsignedTooLong))
				slices.SortFunc(list, func(a, b result.RunResult) int { return strings.Compare(a.Key, b.Key) })
				return list
			}))},
		{name: "a step removed", want: position, tamper: func(tr *v1.TaskRun) { tr.Status.Steps = tr.Status.Steps[:1] }},
		{
			name: "the first step removed", want: position,
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps = tr.Status.Steps[1:] },
		},
		{name: "steps in another order", want: position, tamper: func(tr *v1.TaskRun) { slices.Reverse(tr.Status.Steps) }},
		{
			name: "a step twice", want: position, tamper: func(tr *v1.TaskRun) {
				tr.Status.Steps = append(tr.Status.Steps, tr.Status.Steps[1])
			},
		},
		{name: "a step added", want: coverage, tamper: func(tr *v1.TaskRun) {
			added := *tr.Status.Steps[1].DeepCopy()
			added.Name, added.Container, added.Terminated.Message, added.Outputs = "added", "step-added", "", nil
			tr.Status.Steps = append(tr.Status.Steps, added)
		}},
		{name: "messages of two steps swapped", want: position, tamper: func(tr *v1.TaskRun) {
			a, b := tr.Status.Steps[0].Terminated, tr.Status.Steps[1].Terminated
			a.Message, b.Message = b.Message, a.Message
		}},
		{name: "one step's evidence given to both", want: position, tamper: func(tr *v1.TaskRun) {
			tr.Status.Steps[1].Terminated.Message = tr.Status.Steps[0].Terminated.Message
		}},
		{name: "a step renamed", want: failed(verify.CheckPayload), tamper: func(tr *v1.TaskRun) {
			tr.Status.Steps[0].Name, tr.Status.Steps[0].Container = "scan", "step-scan"
		}},
		{
			name: "a step's name without its container", want: position,
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Name = "scan" },
		},
		{
			name: "a step shown as running", want: failed(verify.CheckSucceeded),
			tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated = nil },
		},
		{name: "nothing declared, nothing emitted, not signed", want: nothing(), sign: func(r *verifytest.Run) {
			r.Spec.Results = nil
			for i := range r.Steps {
				r.Steps[i] = verifytest.Step{Name: r.Steps[i].Name, Bare: true, Message: func([]result.RunResult) any { return "" }}
			}
		}},
		{name: "a result with a reserved name", want: failed(verify.CheckReserved), sign: func(r *verifytest.Run) {
			r.Spec.Results = append(r.Spec.Results, v1.TaskResult{Name: signing.CarrierToken, Type: v1.ResultsTypeString})
		}},
	}
}

// carrierNames are the names of all signing material of format v2.
func carrierNames() []string {
	return []string{
		signing.CarrierManifest, signing.CarrierManifestSignature, signing.CarrierSVID, signing.CarrierPublicKey,
		signing.CarrierToken, signing.CarrierCertificate,
	}
}
