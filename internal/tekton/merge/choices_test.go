// SPDX-License-Identifier: Apache-2.0

package merge_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/tektontest"
)

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
