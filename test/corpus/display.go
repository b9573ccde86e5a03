// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// hostile returns texts that try to look like something else.
func hostile() map[string]string {
	return map[string]string{
		"a new line and a verdict":   "x\n✓ VERIFIED ci/build",
		"a carriage return":          "x\r✓ VERIFIED ci/build",
		"erased line":                "\x1b[2K\x1b[1G✓ VERIFIED",
		"colours":                    "\x1b[32mVERIFIED\x1b[0m",
		"a link":                     "\x1b]8;;https://evil.example\x07VERIFIED\x1b]8;;\x07",
		"a terminal's title":         "\x1b]0;owned\x07",
		"a C1 control":               "\u009b2K VERIFIED",
		"backspaces":                 "FAILED\b\b\b\b\b\bVERIFIED",
		"text from right to left":    "\u202eDEIFIREV\u202c",
		"isolated text":              "\u2066x\u2069",
		"zero width":                 "VERI\u200bFIED\u200d\ufeff",
		"tags":                       "x\U000e0041\U000e0042",
		"separators":                 "x\u2028✓ VERIFIED\u2029y",
		"piled up marks":             "x" + strings.Repeat("\u0301", 100),
		"letters that look alike":    "ІMAGE_DIGEST",
		"a workflow command":         "::error file=a::VERIFIED",
		"a spreadsheet formula":      "=HYPERLINK(\"https://evil.example\")",
		"markup":                     "<script>alert(1)</script>",
		"a very long text":           strings.Repeat("VERIFIED ", 5000),
		"a wide blank":               "x" + strings.Repeat("\u3000", 300) + "VERIFIED",
		"private use and unassigned": "\ue000\U000f0000\u0378",
		"a soft hyphen and a filler": "VERI\u00adFIED\u3164",
	}
}

// display makes cases of such texts everywhere a TaskRun can hold them.
func (m *maker) display() {
	for name, text := range sorted(hostile()) {
		named, ended := failed(verify.CheckPod), verified()
		if len(text) > 253 { // Kubernetes allows no longer names
			named = unreadable()
		}
		if len(text) > 1024 {
			ended = failed(verify.CheckSucceeded)
		}
		for _, place := range []attack{
			{name: "result's value", want: failed(verify.CheckResults), tamper: setValue(text)},
			{name: "result's name", want: failed(verify.CheckResults),
				tamper: setResults(func(r []v1.TaskRunResult) []v1.TaskRunResult {
					r[0].Name = text
					return r
				})},
			{
				name: "TaskRun's name and namespace", want: named,
				tamper: func(tr *v1.TaskRun) { tr.Name, tr.Namespace = text, text },
			},
			{
				name: "step's name", want: failed(verify.CheckPosition),
				tamper: func(tr *v1.TaskRun) { tr.Status.Steps[0].Container = text },
			},
			{name: "reason of the outcome", want: ended, tamper: func(tr *v1.TaskRun) {
				setCondition(tr, apis.ConditionSucceeded, "True", text)
			}},
			{name: "manifest", want: failed(verify.CheckFormat), sign: manifest(func(string) string { return text })},
			{name: "token", want: failed(verify.CheckToken), sign: rewrite(func(string) string { return text })},
		} {
			m.apply("display/"+name, m.newRun(), m.sign, place)
		}
	}
}
