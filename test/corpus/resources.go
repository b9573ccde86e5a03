// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"bytes"
	"fmt"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// resources makes cases that try to use too much time or memory.
func (m *maker) resources() {
	m.hugeFiles(string(m.text(m.sign(m.newRun()))))
	m.hugeTaskRuns()
}

// hugeFiles makes cases of files that are too large or too deeply nested to be read.
func (m *maker) hugeFiles(text string) {
	nested := func(depth int) string { return strings.Repeat(`{"a":[`, depth) + strings.Repeat(`]}`, depth) }
	with := func(extra string) string { return strings.Replace(text, `"spec":{`, `"spec":{"extra":`+extra+`,`, 1) }
	laughs := "a0: &a0 [x]\n"
	for i := 1; i < 20; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i,
			strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	for _, c := range []struct{ name, text string }{
		{"object of 9 MiB", with(`"` + strings.Repeat("a", 9<<20) + `"`)},
		{"object nested 10000 deep", with(nested(10000))},
		{"object nested 70 deep", with(nested(70))},
		{"only opening brackets", strings.Repeat("[", 1<<20)},
		{"only opening braces", strings.Repeat(`{"a":`, 1<<18)},
		{"YAML that multiplies", laughs},
		{"YAML nested deeply", strings.Repeat("[", 20000)},
		{"gzip that multiplies", string(zipped(bytes.Repeat([]byte(" "), 100<<20)))},
		{"gzip of one long object", string(zipped([]byte(with(`"` + strings.Repeat("a", 100<<20) + `"`))))},
		{
			"4097 results",
			with(`0,"status":{"results":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","value":"b"},`, 4097), ",") +
				`]},"x":`),
		},
		{"a line of 70 MiB", strings.Repeat("a", 70<<20)},
	} {
		m.add("resources/"+c.name, []byte(c.text), unreadable())
	}
}

// hugeTaskRuns makes cases of TaskRuns that can be read and need much work.
func (m *maker) hugeTaskRuns() {
	many := func(n int, f func(i int)) {
		for i := range n {
			f(i)
		}
	}
	for _, a := range []attack{
		{name: "1000 steps", want: failed(verify.CheckPosition), tamper: func(tr *v1.TaskRun) {
			many(1000, func(int) { tr.Status.Steps = append(tr.Status.Steps, tr.Status.Steps[0]) })
		}},
		{name: "4000 results too many", want: failed(verify.CheckResults), tamper: func(tr *v1.TaskRun) {
			many(4000, func(i int) {
				tr.Status.Results = append(tr.Status.Results,
					v1.TaskRunResult{Name: fmt.Sprint(i), Type: "string", Value: *v1.NewStructuredValues("x")})
			})
		}},
		{name: "a result of 4 MiB", want: failed(verify.CheckResults), tamper: setValue(strings.Repeat("a", 4<<20))},
		{name: "an array of a million", want: unreadable(), tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
			r[1].Value.ArrayVal = make([]string, 1<<20)
			return r
		})},
		{name: "50000 conditions", want: unreadable(), tamper: func(tr *v1.TaskRun) {
			many(50000, func(int) {
				tr.Status.Conditions = append(tr.Status.Conditions, apis.Condition{Type: "Succeeded", Status: "True"})
			})
		}},
		{name: "a message of 6 MiB", want: failed(verify.CheckMessage), tamper: message(0, func(string) string {
			return "[" + strings.Repeat(`{"key":"a","value":"b","type":1},`, 180000) + `{"key":"b","value":"","type":1}]`
		})},
		{
			name: "a message nested deeply", want: failed(verify.CheckMessage),
			tamper: message(0, func(string) string { return strings.Repeat("[", 1<<20) }),
		},
		{
			name: "a manifest of 100 KiB", want: failed(verify.CheckFormat),
			sign: manifest(func(string) string { return "v2:" + strings.Repeat("A", 100<<10) }),
		},
		{
			name: "a manifest of 1 MiB", want: failed(verify.CheckMessage),
			sign: manifest(func(string) string { return "v2:" + strings.Repeat("A", 1<<20) }),
		},
		{
			name: "a token of 100 KiB", want: failed(verify.CheckToken),
			sign: rewrite(func(string) string { return strings.Repeat("A.", 50<<10) }),
		},
		{
			name: "a token of 1 MiB", want: failed(verify.CheckMessage),
			sign: rewrite(func(string) string { return strings.Repeat("A.", 1<<19) }),
		},
		{name: "20000 promoted results", want: missing(verify.CheckDeclaration), tamper: func(tr *v1.TaskRun) {
			many(20000, func(i int) {
				tr.Status.TaskSpec.Results = append(tr.Status.TaskSpec.Results, v1.TaskResult{
					Name: fmt.Sprint(i), Type: "string", Value: v1.NewStructuredValues("$(steps.build.results.scan)"),
				})
			})
		}},
		{name: "2500 artifacts", want: failed(verify.CheckPayload),
			tamper: entries(1, func(list []result.RunResult) []result.RunResult {
				for i := range list {
					if list[i].ResultType == result.StepArtifactsResultType {
						list[i].Value = `{"outputs":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","values":[{"uri":"b"}]},`, 2500),
							",") + `]}`
					}
				}
				return list
			})},
		{name: "255 steps as large as can be", want: failed(verify.CheckMessage), tamper: func(tr *v1.TaskRun) {
			markCompressed(tr)
			large := largeMessage(tr.Status.Steps[0].Terminated.Message)
			first := tr.Status.Steps[0]
			tr.Status.Steps = nil
			many(255, func(i int) {
				s := *first.DeepCopy()
				s.Name, s.Container = fmt.Sprint(i), fmt.Sprintf("step-%d", i)
				s.Terminated.Message = large
				tr.Status.Steps = append(tr.Status.Steps, s)
			})
		}},
		{name: "as many artifacts as can be", want: failed(verify.CheckPayload),
			tamper: entries(1, func(list []result.RunResult) []result.RunResult {
				for i := range list {
					if list[i].ResultType == result.StepArtifactsResultType {
						var values []string
						many(250, func(n int) { values = append(values, fmt.Sprintf(`{"digest":{"sha256":"%d"},"uri":"b"}`, n)) })
						list[i].Value = `{"outputs":[{"name":"a","values":[` + strings.Join(values, ",") + `]}]}`
					}
				}
				return list
			})},
		{name: "10000 retries", want: missing(verify.CheckPod), tamper: func(tr *v1.TaskRun) {
			tr.Status.RetriesStatus = make([]v1.TaskRunStatus, 10000)
		}},
		{name: "a name of 1 MiB", want: unreadable(), tamper: func(tr *v1.TaskRun) { tr.Name = strings.Repeat("a", 1<<20) }},
		{
			name: "a pod's name of 1 MiB", want: failed(verify.CheckPod),
			tamper: func(tr *v1.TaskRun) { tr.Status.PodName = strings.Repeat("a", 1<<20) },
		},
		{name: "a reason of 1 MiB", want: failed(verify.CheckSucceeded), tamper: func(tr *v1.TaskRun) {
			tr.Status.Conditions[0].Reason = strings.Repeat("a", 1<<20)
		}},
	} {
		m.apply("resources", m.newRun(), m.sign, a)
	}
}

// largeMessage returns a compressed message with the entries of message and as many more as the limit for
// inflating allows.
func largeMessage(message string) string {
	text := strings.TrimSuffix(message, "]")
	for i := range 3000 {
		text += fmt.Sprintf(`,{"key":"zz%06d","value":"","type":1}`, i)
	}
	return deflate([]byte(text + "]"))
}
