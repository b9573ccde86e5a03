// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// parsers makes cases of files that readers could read differently, and of every way to write TaskRuns.
func (m *maker) parsers() {
	tr := m.sign(m.newRun())
	text := string(m.text(tr))
	document, err := yaml.Marshal(tr)
	if err != nil {
		m.err = err
	}
	if m.err != nil {
		return
	}
	m.forms(tr, text, string(document))
	m.ambiguous(text, string(document))
	m.noTaskRuns(text)
}

// forms makes cases of unambiguous ways to write TaskRuns.
func (m *maker) forms(tr *v1.TaskRun, text, document string) {
	tampered := tr.DeepCopy()
	tampered.Name, tampered.Status.Results[0].Value.StringVal = "build", "sha256:0000"
	bad := string(m.text(tampered))
	badDocument, err := yaml.Marshal(tampered)
	if err != nil {
		m.err = err
		return
	}
	list := func(items ...string) string {
		return `{"apiVersion":"v1","kind":"List","metadata":{},"items":[` + strings.Join(items, ",") + `]}`
	}
	results := failed(verify.CheckResults)
	for _, c := range []struct {
		name, text string
		want       Want
	}{
		{"YAML", document, verified()},
		{"YAML in several documents", document + "---\n" + document, verified()},
		{"YAML, the second document tampered", document + "---\n" + string(badDocument), results},
		{"YAML with a number for a key", document + "1: 2\n", unreadable()},
		{"YAML with an empty document", "---\n" + document + "---\n---\n", verified()},
		{"List", list(text, text), verified()},
		{"List, the last item tampered", list(text, bad), results},
		{
			"TaskRunList", strings.Replace(list(text), `"apiVersion":"v1","kind":"List"`,
				`"apiVersion":"tekton.dev/v1","kind":"TaskRunList"`, 1), verified(),
		},
		{"one a line", text + "\n" + text + "\n", verified()},
		{"one a line, the last tampered", text + "\n" + bad, results},
		{"gzip", string(zipped([]byte(text))), verified()},
		{"gzip, tampered", string(zipped([]byte(bad))), results},
		{"field of a later version", strings.Replace(text, `"spec":{`, `"spec":{"later":{"a":[1]},`, 1), verified()},
		{"Tekton Results' record", record(text), verified()},
		{"Tekton Results' record, tampered", record(bad), results},
	} {
		m.add("input/"+c.name, []byte(c.text), c.want)
	}
}

// record returns a TaskRun as the Tekton Results API serves it.
func record(text string) string {
	return fmt.Sprintf(
		`{"records":[{"name":"ci/results/a/records/b","data":{"type":"tekton.dev/v1.TaskRun","value":"%s"}}]}`,
		base64.StdEncoding.EncodeToString([]byte(text)))
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data) // a buffer returns no errors
	_ = w.Close()
	return b.Bytes()
}

// ambiguous makes cases of files that readers can read differently.
func (m *maker) ambiguous(text, document string) {
	replace := func(old, new string) string {
		if !strings.Contains(text, old) {
			panic("the TaskRun holds no " + old)
		}
		return strings.Replace(text, old, new, 1)
	}
	for _, c := range []struct{ name, text string }{
		{"member twice", replace(`"spec":`, `"spec":{},"spec":`)},
		{"member twice, deep inside", replace(`"exitCode":0`, `"exitCode":1,"exitCode":0`)},
		{"second status in another case", replace(`"status":`, `"Status":{},"status":`)},
		{"status in another case", replace(`"status":`, `"STATUS":`)},
		{"member with a special s", replace(`"status":`, `"ſtatus":{},"status":`)},
		{"field in another case, deep inside", replace(`"podName"`, `"podname"`)},
		{"name twice by escapes", replace(`"spec":`, `"\u0073pec":{},"spec":`)},
		{"trailing bracket", text + "}"},
		{"trailing text", text + " # end"},
		{"comment", replace(`{`, `{/**/`)},
		{"comma too many", replace(`"kind":`, `,"kind":`)},
		{"single quotes", strings.ReplaceAll(text, `"`, `'`)},
		{"lone surrogate", replace(`"namespace":"ci"`, `"namespace":"ci\ud800"`)},
		{"invalid UTF-8", replace(`"namespace":"ci"`, "\"namespace\":\"ci\xff\"")},
		{"control character", replace(`"namespace":"ci"`, "\"namespace\":\"c\x01i\"")},
		{"number too large", replace(`"exitCode":0`, `"exitCode":4294967296`)},
		{"number with a fraction", replace(`"exitCode":0`, `"exitCode":0.5`)},
		{"text for a number", replace(`"exitCode":0`, `"exitCode":"0"`)},
		{"not a number", replace(`"exitCode":0`, `"exitCode":NaN`)},
		{"byte order mark of UTF-16", "\xff\xfe" + text},
		{"YAML with a key twice", document + "spec: {}\n"},
		{"YAML with an alias", strings.Replace(document, "kind: TaskRun", "kind: &k TaskRun\nalias: *k", 1)},
		{"YAML with a merge", "x: &a {kind: TaskRun}\n<<: *a\n" + document},
		{"YAML with a tag", strings.Replace(document, "kind: TaskRun", "kind: !!binary VGFza1J1bg==", 1)},
		{"YAML indented by a tab", document + "x:\n\ty: 1\n"},
		{"YAML with a cut off document", document + "---\nkind: [TaskRun\n"},
	} {
		want := unreadable()
		if strings.HasSuffix(c.name, "cut off document") || strings.HasPrefix(c.name, "trailing") {
			want = Want{Check: "input", Exit: 1, Verdict: anyVerdict}
		}
		m.add("input/"+c.name, []byte(c.text), want)
	}
}

// anyVerdict allows any verdict for the objects before the unreadable part.
const anyVerdict verify.Verdict = "*"

// noTaskRuns makes cases of files without a TaskRun to verify.
func (m *maker) noTaskRuns(text string) {
	for _, c := range []struct {
		name, text string
		want       Want
	}{
		{"nothing", "", unreadable()},
		{"white space", " \n\t\n", unreadable()},
		{"only a comment", "# nothing here\n", unreadable()},
		{"null", "null", unreadable()},
		{"a number", "1", unreadable()},
		{"an array", "[" + text + "]", unreadable()},
		{"an empty object", "{}", unreadable()},
		{"a Pod", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`, unreadable()},
		{"a TaskRun of another group", strings.Replace(text, "tekton.dev/v1", "example.dev/v1", 1), unreadable()},
		{"a TaskRun of a later version", strings.Replace(text, "tekton.dev/v1", "tekton.dev/v2", 1), unreadable()},
		{"an empty List", `{"apiVersion":"v1","kind":"List","items":[]}`, unreadable()},
		{"a List without items", `{"apiVersion":"v1","kind":"List"}`, unreadable()},
		{"a List of null", `{"apiVersion":"v1","kind":"List","items":[null]}`, unreadable()},
		{
			"a Pod beside a TaskRun", text + "\n" + `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`,
			unreadableBesideVerified(),
		},
		{
			"a List in a List", `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"List","items":[` + text +
				`]}]}`, unreadable(),
		},
		{
			"a TaskRun without status",
			`{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"a","namespace":"b"}}`, missing(verify.CheckTime),
		},
		{
			"a TaskRun whose status is null",
			`{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"a"},"status":null}`, missing(verify.CheckTime),
		},
		{"gzip cut off", string(zipped([]byte(text))[:200]), unreadable()},
		{"gzip within gzip", string(zipped(zipped([]byte(text)))), unreadable()},
		{"a binary", "\x7fELF\x02\x01\x01\x00\x00\x00", unreadable()},
	} {
		m.add("input/"+c.name, []byte(c.text), c.want)
	}
}
