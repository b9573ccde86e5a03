// SPDX-License-Identifier: Apache-2.0

package merge_test

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/merge"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/tektontest"
)

// pod is the input of both functions.
type pod struct {
	spec       v1.TaskSpec
	containers []corev1.ContainerStatus
	failed     bool
	logged     []logged // nil if values travel by termination message
}

// logged is a value that Tekton's results sidecar logged: artifacts of a step if name is empty, and a task
// result if container is empty.
type logged struct{ container, name, value string }

// log is the interface of both logs.
type log interface {
	TaskResult(name, value string)
	StepResult(container, name, value string)
	StepArtifacts(container, value string)
}

func (p pod) fill(l log) {
	for _, v := range p.logged {
		switch {
		case v.container == "":
			l.TaskResult(v.name, v.value)
		case v.name == "":
			l.StepArtifacts(v.container, v.value)
		default:
			l.StepResult(v.container, v.name, v.value)
		}
	}
}

// tektons returns what Tekton makes from the pod.
func (p pod) tektons(c tektontest.Controller) (merge.Outcome, error) {
	tr := v1.TaskRun{}
	tr.Status.TaskSpec = p.spec.DeepCopy()
	if tr.Status.TaskSpec.Results == nil {
		tr.Status.TaskSpec.Results = []v1.TaskResult{} // otherwise Tekton does not read the log
	}
	stored := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}
	if p.failed {
		stored.Status.Phase = corev1.PodFailed
	}
	for _, s := range p.containers {
		stored.Spec.Containers = append(stored.Spec.Containers, corev1.Container{Name: s.Name})
		stored.Status.ContainerStatuses = append(stored.Status.ContainerStatuses, *s.DeepCopy())
	}
	var l *tektontest.Log
	if p.logged != nil {
		l = &tektontest.Log{}
		p.fill(l)
	}
	status, err := c.Status(tr, stored, p.spec.DeepCopy(), l)
	return merge.Outcome{Results: status.Results, Steps: status.Steps, Artifacts: *status.Artifacts}, err
}

// ours returns what package merge makes from the pod.
func (p pod) ours() (merge.Outcome, error) {
	var l merge.Log
	p.fill(&l)
	return merge.Merge(&p.spec, p.containers, l)
}

// compare merges a pod with Tekton's function and with ours.
func compare(t *testing.T, c tektontest.Controller, p pod) {
	t.Helper()
	before := p.spec.DeepCopy()
	want, wantErr := p.tektons(c)
	got, gotErr := p.ours()
	for _, o := range []merge.Outcome{want, got} { // Tekton reads them from a map, in random order
		for _, list := range [][]v1.Artifact{o.Artifacts.Inputs, o.Artifacts.Outputs} {
			slices.SortFunc(list, func(a, b v1.Artifact) int { return cmp.Compare(a.Name, b.Name) })
		}
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("Tekton's (-) and ours (+):\n%s\nof %s", gocmp.Diff(want, got), asJSON(t, p.containers))
	}
	if (wantErr == nil) != (gotErr == nil) {
		t.Errorf("Tekton's error: %v\nours: %v\nof %s", wantErr, gotErr, asJSON(t, p.containers))
	}
	if !reflect.DeepEqual(before, &p.spec) {
		t.Errorf("the declaration was changed:\n%s", gocmp.Diff(before, &p.spec))
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func ended(name, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, ImageID: "i", State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Message: message, Reason: "Completed"},
	}}
}

// podsOf returns pods for every TaskRun in a file, and for its archived attempts: one whose values travel by
// message, and one whose values from the status travel by log.
func podsOf(data []byte) []pod {
	var list struct {
		Items  []json.RawMessage `json:"items"`
		Status v1.TaskRunStatus  `json:"status"`
	}
	if json.Unmarshal(data, &list) != nil {
		return nil
	}
	var pods []pod
	for _, status := range append([]v1.TaskRunStatus{list.Status}, list.Status.RetriesStatus...) {
		pods = append(pods, podsOfStatus(&status)...)
	}
	for _, item := range list.Items {
		pods = append(pods, podsOf(item)...)
	}
	return pods
}

func podsOfStatus(status *v1.TaskRunStatus) []pod {
	if len(status.Steps) == 0 || len(status.Steps) > 200 {
		return nil
	}
	p := pod{spec: v1.TaskSpec{}}
	if status.TaskSpec != nil {
		p.spec.Results, p.spec.Steps = status.TaskSpec.Results, status.TaskSpec.Steps
	}
	byLog := pod{spec: p.spec, failed: true, logged: []logged{}}
	for _, r := range status.Results {
		byLog.logged = append(byLog.logged, logged{name: r.Name, value: r.Value.StringVal})
	}
	for _, s := range status.Steps {
		p.containers = append(p.containers, corev1.ContainerStatus{Name: s.Container, ImageID: s.ImageID,
			State: s.ContainerState})
		for _, r := range s.Results {
			byLog.logged = append(byLog.logged, logged{s.Container, r.Name, r.Value.StringVal})
		}
		artifacts, err := json.Marshal(v1.Artifacts{Inputs: s.Inputs, Outputs: s.Outputs})
		if err == nil {
			byLog.logged = append(byLog.logged, logged{container: s.Container, value: string(artifacts)})
		}
	}
	byLog.containers = p.containers
	return []pod{p, byLog}
}

// TestRecorded merges what real clusters recorded.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("../../../pkg/verify/testdata/recorded/*.json")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	c, merged := tektontest.NewController(), 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range podsOf(data) {
			compare(t, c, p)
			merged++
		}
	}
	if merged < 100 {
		t.Errorf("merged %d pods only", merged)
	}
}

// choices makes a pod from bytes. Every byte is one choice; after the last byte, every choice is zero.
type choices struct {
	bytes []byte
	text  string // one of the values
}

func (c *choices) n(limit int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	b := c.bytes[0]
	c.bytes = c.bytes[1:]
	return int(b) % limit
}

func (c *choices) pick(words ...string) string { return words[c.n(len(words))] }

func (c *choices) name() string {
	return c.pick("a", "b", "digest", "ExitCode", "StartedAt", "Reason", "", "RESULT_MANIFEST", "a.b",
		"/tekton/artifacts/provenance.json", c.text)
}

func (c *choices) step() string { return c.pick("one", "two", "", "x.y", "unnamed-0", c.text) }

func (c *choices) container() string {
	switch c.n(8) {
	case 0:
		return c.pick("sidecar-one", "place-scripts", "step", "", c.text)
	default:
		return "step-" + c.step()
	}
}

func (c *choices) value() string {
	return c.pick(
		"", "v", "0", "137", "2147483648", "2025-06-02T12:00:00.000Z", "2025-06-02T12:00:00Z", "TimeoutExceeded", "Skipped",
		`["a","b"]`, `[]`, `[1]`, `[null]`, `["a",`, `{"k":"v"}`, `{}`, `{"k":1}`, `{"k":null}`, `{"k":"v","k":"w"}`, `null`,
		`"q"`, `"q`, " [\"a\"]",
		`{"inputs":[{"name":"i","values":[{"uri":"u","digest":{"sha256":"1"}}]}]}`,
		`{"inputs":[{"name":"i","values":[{"uri":"w"}]}],`+
			`"outputs":[{"name":"o","buildOutput":true,"values":[{"uri":"u"},{"uri":"u"}]}]}`,
		`{"outputs":[{"name":"o","values":null},`+
			`{"name":"o","buildOutput":false,"values":[{"digest":{"sha256":"2"},"uri":"u"}]}]}`,
		`{"outputs":[{"name":1}]}`, `{"outputs":[{"name":"o"},3]}`, `{"inputs":{}}`, "\xff\xfe", "a\xffb", "<&>\u2028",
		c.text,
	)
}

func (c *choices) kind() result.ResultType {
	return []result.ResultType{1, 1, 1, 4, 4, 5, 6, 3, 3, 0, 2, 10, 7, -1}[c.n(14)]
}

func (c *choices) message() string {
	var entries []any
	for range c.n(6) {
		e := map[string]any{"key": c.name(), "value": c.value(), "type": c.kind()}
		switch c.n(12) {
		case 1:
			e["type"] = c.pick("TaskRunResult", "StepResult", "InternalTektonResult", "StepArtifactsResult",
				"TaskRunArtifactsResult", "x")
		case 2:
			delete(e, "type")
		case 3:
			e["resourceName"] = c.value()
		case 4:
			e["Key"] = c.name()
		case 5:
			e = map[string]any{}
		case 6:
			e["value"] = 1
		}
		entries = append(entries, e)
	}
	data, err := json.Marshal(entries)
	if err != nil {
		panic(err)
	}
	text := string(data)
	switch c.n(12) {
	case 1:
		return compressed(text)
	case 2:
		return text[:len(text)/2]
	case 3:
		return compressed(text)[:len(compressed(text))/2]
	case 4:
		return text + c.pick(" ", "\n", "x", "[]")
	case 5:
		return c.pick("", "[]", "{}", "null", "x", "tknz:", "tknz:!", "[null]", `[[]]`, c.text, "tknz:"+c.text)
	case 6:
		return compressed(string(bytes.Repeat([]byte(c.pick(" ", "[", "x")), 1<<17+c.n(2)*64)) + text)
	}
	return text
}

// compressed returns a message as Tekton's entrypoint compresses it.
func compressed(text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return "tknz:" + base64.RawStdEncoding.EncodeToString(b.Bytes())
}

func (c *choices) spec() v1.TaskSpec {
	var spec v1.TaskSpec
	types := []v1.ResultsType{v1.ResultsTypeString, v1.ResultsTypeArray, v1.ResultsTypeObject, "", "other"}
	for range c.n(5) {
		r := v1.TaskResult{Name: c.name(), Type: types[c.n(5)]}
		switch c.n(3) {
		case 1:
			r.Value = v1.NewStructuredValues("$(steps." + c.step() + ".results." + c.name() + ")")
		case 2:
			r.Value = v1.NewStructuredValues(c.pick("", "x", "$(steps.one.results.a", "$(steps.one.results.a[*])",
				"$(steps.one.results.a[0])", c.text), c.pick("", "y"))
			if c.n(2) == 1 {
				r.Value = v1.NewStructuredValues(c.pick("", "x", "$(steps.one.a)", "$(steps.one.results.a.b)", c.text))
			}
		}
		spec.Results = append(spec.Results, r)
	}
	for range c.n(4) {
		s := v1.Step{Name: c.step()}
		for range c.n(3) {
			s.Results = append(s.Results, v1.StepResult{Name: c.name(), Type: types[c.n(5)]})
		}
		spec.Steps = append(spec.Steps, s)
	}
	return spec
}

func (c *choices) state() corev1.ContainerState {
	switch c.n(10) {
	case 1:
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	case 2:
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "r"}}
	case 3:
		return corev1.ContainerState{}
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: int32(c.n(3)), Reason: c.pick("Completed", "Error", "OOMKilled", "", "TaskRunCancelled"),
		Message: c.message(),
	}}
}

func (c *choices) pod() pod {
	p := pod{spec: c.spec(), failed: c.n(2) == 1}
	for range 1 + c.n(4) {
		p.containers = append(p.containers, corev1.ContainerStatus{Name: c.container(), ImageID: c.pick("", "i"),
			State: c.state()})
	}
	if c.n(3) == 1 {
		p.logged = []logged{}
		for range c.n(6) {
			v := logged{c.container(), c.name(), c.value()}
			switch c.n(3) {
			case 0:
				v.container = ""
			case 1:
				v.name = ""
			}
			p.logged = append(p.logged, v)
		}
	}
	return p
}

// FuzzMergeMade merges pods that are made from choices, so that nearly all of them are valid.
func FuzzMergeMade(f *testing.F) {
	for i := range 200 {
		seed := make([]byte, 120)
		for n := range seed {
			seed[n] = byte((i*7919 + n*n*31 + n*i*17) >> 2)
		}
		f.Add(seed, []string{"a", "$(steps.one.results.a)", "[\"a\"]", "\xff.\xfe"}[i%4])
	}
	c := tektontest.NewController()
	f.Fuzz(func(t *testing.T, bytes []byte, text string) {
		made := &choices{bytes: bytes, text: text}
		compare(t, c, made.pod())
	})
}

// BenchmarkMerge merges the output of two steps with ten results.
func BenchmarkMerge(b *testing.B) {
	c := tektontest.NewController()
	p := pod{containers: []corev1.ContainerStatus{ended("step-a", fiveResults("a")), ended("step-b", fiveResults("b"))}}
	for name, merged := range map[string]func() (merge.Outcome, error){
		"ours": p.ours, "Tekton's": func() (merge.Outcome, error) { return p.tektons(c) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if out, err := merged(); err != nil || len(out.Results) != 10 {
					b.Fatalf("%d results, %v", len(out.Results), err)
				}
			}
		})
	}
}

// fiveResults returns a message with five results, half of those of a typical TaskRun.
func fiveResults(step string) string {
	var entries []result.RunResult
	for i := range 5 {
		entries = append(entries, result.RunResult{Key: step + string(rune('0'+i)),
			Value: "sha256:2c26b46b68ffc68ff99b453c1d304134", ResultType: result.TaskRunResultType})
	}
	data, err := json.Marshal(entries)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return string(data)
}
