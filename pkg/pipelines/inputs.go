// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// Difference is one thing that a child has and the pipeline wants otherwise.
type Difference struct {
	What     string // the parameter, for one
	Expected string
	Got      string
}

// nothing stands for what is not there.
const nothing = "none"

// maxCombinations is how many runs of a matrix are looked at. Tekton's own limit is 256 unless it is configured.
const maxCombinations = 1024

// maxCombined is how many parameters all runs of a matrix may have together.
const maxCombined = 1 << 18

// maxStateText is the longest text, in bytes, in which states are looked for.
const maxStateText = 16 << 10

// maxExpanded bounds what references may become, in bytes. An API server stores no object of this size.
const maxExpanded = 8 << 20

// CheckSize refuses a part of a pipeline whose references would become too much: a short text can name a large result
// many times.
func (o Outputs) CheckSize(part any) error {
	text, err := textOf(part)
	if err != nil {
		return err
	}
	size := len(text)
	for _, match := range given.FindAllStringSubmatch(text, -1) {
		if size += o[match[1]].largest(); size > maxExpanded {
			return fmt.Errorf("expected results that take at most %d bytes where they are referred to, got more", maxExpanded)
		}
	}
	return nil
}

// given matches the beginning of a reference to what a task gives.
var given = regexp.MustCompile(`\$\((?:tasks|finally)\.([^.\s()\\"]+)\.`)

// Apply returns a task of the pipeline as Tekton runs it once the tasks before it gave their results.
func (o Outputs) Apply(task *v1.PipelineTask) *v1.PipelineTask {
	r := o.referred(task).replacer()
	own := map[string]string{"context.pipelineTask.retries": strconv.Itoa(task.Retries)}
	applied := task.DeepCopy()
	applied.Params = r.params(applied.Params).ReplaceVariables(own, nil, nil)
	if applied.IsMatrixed() {
		m := applied.Matrix
		m.Params = r.only(true).params(m.Params).ReplaceVariables(own, nil, nil)
		for i := range m.Include {
			m.Include[i].Params = r.only(false).params(m.Include[i].Params).ReplaceVariables(own, nil, nil)
		}
	}
	for i, when := range applied.When {
		applied.When[i] = r.when(when)
	}
	if ref := applied.TaskRef; ref != nil {
		ref.Params = r.params(ref.Params)
		ref.Name = r.text(ref.Name)
	}
	return applied
}

// Combinations returns the parameters of each run of an applied task: one run, or those of its matrix.
func Combinations(applied *v1.PipelineTask) ([]v1.Params, error) {
	if !applied.IsMatrixed() {
		return []v1.Params{applied.Params}, nil
	}
	n := applied.Matrix.CountCombinations()
	if n > maxCombinations {
		return nil, fmt.Errorf("expected a matrix of at most %d runs, got %d", maxCombinations, n)
	}
	if each := len(applied.Matrix.Params) + len(applied.Params); n*each > maxCombined {
		return nil, fmt.Errorf("expected a matrix whose runs have at most %d parameters together, got %d",
			maxCombined, n*each)
	}
	all := applied.Matrix.FanOut()
	for i := range all {
		all[i] = append(all[i], applied.Params...)
	}
	return all, nil
}

// Runs returns how many runs a task has, false if that depends on the results of others.
func Runs(task *v1.PipelineTask) (int, bool) {
	if takes(task.Matrix) {
		return 0, false
	}
	all, err := Combinations(Outputs(nil).Apply(task))
	return len(all), err == nil
}

// CompareParams returns where the parameters of a run differ from those of the pipeline.
func CompareParams(expected, got v1.Params) []Difference {
	var differences []Difference
	for _, d := range differing(expected, got) {
		differences = append(differences, d.shown())
	}
	return differences
}

// unlike is a parameter that differs. It is shown only if somebody is to see it: values may be large.
type unlike struct {
	name          string
	expected, got *v1.ParamValue // nil: there is none
	twice         bool
}

func (u unlike) shown() Difference {
	d := Difference{u.name, nothing, nothing}
	if u.twice {
		return Difference{u.name, "one of this name", "two"}
	}
	if u.expected != nil {
		d.Expected = show(*u.expected)
	}
	if u.got != nil {
		d.Got = show(*u.got)
	}
	return d
}

func differing(expected, got v1.Params) []unlike {
	var all []unlike
	rest := map[string]*v1.ParamValue{}
	for i := range got {
		if _, twice := rest[got[i].Name]; twice {
			all = append(all, unlike{name: got[i].Name, twice: true})
		}
		rest[got[i].Name] = &got[i].Value
	}
	for i := range expected {
		p := &expected[i]
		value := rest[p.Name]
		delete(rest, p.Name)
		if value == nil || !sameValue(p.Value, *value) {
			all = append(all, unlike{name: p.Name, expected: &p.Value, got: value})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		all = append(all, unlike{name: name, got: rest[name]})
	}
	return all
}

// byName returns the values of parameters, of several of one name the last.
func byName(params v1.Params) map[string]*v1.ParamValue {
	values := make(map[string]*v1.ParamValue, len(params))
	for i := range params {
		values[params[i].Name] = &params[i].Value
	}
	return values
}

// countDiffering returns how many parameters differ, given the values of got by name.
func countDiffering(expected, got v1.Params, values map[string]*v1.ParamValue) int {
	n, found := len(got)-len(values), 0 // those that are there twice
	for i := range expected {
		value := values[expected[i].Name]
		if value != nil {
			found++
		}
		if value == nil || !sameValue(expected[i].Value, *value) {
			n++
		}
	}
	if n += max(0, len(values)-found); n > 0 { // with those that nobody expects
		return n
	}
	return len(differing(expected, got)) // which knows of names that are expected twice
}

func show(value v1.ParamValue) string {
	data, err := json.Marshal(value)
	if err != nil {
		return "what cannot be read"
	}
	return string(data)
}

func sameValue(expected, got v1.ParamValue) bool {
	if kindOf(expected) != kindOf(got) {
		return false
	}
	switch kindOf(expected) {
	case v1.ParamTypeArray:
		return slices.EqualFunc(expected.ArrayVal, got.ArrayVal, sameText)
	case v1.ParamTypeObject:
		return maps.EqualFunc(expected.ObjectVal, got.ObjectVal, sameText)
	case v1.ParamTypeString:
	}
	return sameText(expected.StringVal, got.StringVal)
}

func kindOf(value v1.ParamValue) v1.ParamType {
	if value.Type == "" {
		return v1.ParamTypeString
	}
	return value.Type
}

// state matches references to how tasks ended, or to how many runs a matrix has. Tekton replaces them when a task of
// finally starts, by a word or a number that no step chooses.
var state = regexp.MustCompile(`\$\(tasks\.(?:status|[^.()\s]+\.(?:status|reason)|[^.()\s]+\.matrix(?:\.[^()\s]+)?\.length)\)`)

// sameText compares texts. Where a state is referred to, any word or number will do.
func sameText(expected, got string) bool {
	if expected == got {
		return true
	}
	end := strings.LastIndex(expected, ")")
	if end < 0 || len(expected) > maxStateText || !strings.HasSuffix(got, expected[end+1:]) {
		return false // what is behind all references differs, for one
	}
	states := state.FindAllStringIndex(expected, -1)
	if len(states) == 0 {
		return false
	}
	rest, ok := strings.CutPrefix(got, expected[:states[0][0]])
	for i := 1; ok && i < len(states); i++ {
		rest, ok = skipWord(rest, expected[states[i-1][1]:states[i][0]])
	}
	word, ends := strings.CutSuffix(rest, expected[states[len(states)-1][1]:])
	return ok && ends && lengthOfWord(word) == len(word)
}

// skipWord returns what follows in a text after a word and then a literal, and whether there is such a beginning. The
// first place is as good as any: a literal of letters and digits may as well be a part of the next word, and one with
// another character has one place only.
func skipWord(text, literal string) (rest string, ok bool) {
	end := min(len(text), lengthOfWord(text)+len(literal))
	at := strings.Index(text[:end], literal)
	if at < 0 {
		return "", false
	}
	return text[at+len(literal):], true
}

// lengthOfWord returns how many letters and digits a text begins with.
func lengthOfWord(text string) int {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return i
		}
	}
	return len(text)
}
