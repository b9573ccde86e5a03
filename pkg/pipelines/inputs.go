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

// Difference is a difference between a child and the pipeline.
type Difference struct {
	What     string // for example a parameter
	Expected string
	Got      string
}

// nothing is shown for a value that is absent.
const nothing = "none"

// maxCombinations is how many runs of a matrix are compared. Tekton's default limit is 256.
const maxCombinations = 1024

// maxCombined is how many parameters all runs of a matrix can have together.
const maxCombined = 1 << 18

// maxStateText is the length of the longest text, in bytes, that is searched for states.
const maxStateText = 16 << 10

// maxExpanded bounds the size of replaced references, in bytes. An API server stores no larger object.
const maxExpanded = 8 << 20

// CheckSize refuses a part of a pipeline that would become too large, because a short text can refer to a large
// result many times.
func (o Outputs) CheckSize(part any) error {
	text, err := textOf(part)
	if err != nil {
		return err
	}
	size := len(text)
	for _, match := range producerRef.FindAllStringSubmatch(text, -1) {
		if size += o[match[1]].largest(); size > maxExpanded {
			return fmt.Errorf("expected references that expand to at most %d bytes, got more", maxExpanded)
		}
	}
	return nil
}

// producerRef matches the beginning of a reference to an output of a task.
var producerRef = regexp.MustCompile(`\$\((?:tasks|finally)\.([^.\s()\\"]+)\.`)

// Apply returns a task of the pipeline as Tekton runs it, with its references replaced by these outputs.
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

// Combinations returns the parameters of each run of an applied task: of its one run, or of each run of its matrix.
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

// Runs returns how many runs a task has. It returns false if that depends on the results of other tasks.
func Runs(task *v1.PipelineTask) (int, bool) {
	if takes(task.Matrix) {
		return 0, false
	}
	all, err := Combinations(Outputs(nil).Apply(task))
	return len(all), err == nil
}

// CompareParams returns how the parameters of a run differ from those of the pipeline.
func CompareParams(expected, got v1.Params) []Difference {
	var differences []Difference
	for _, d := range differing(expected, got) {
		differences = append(differences, d.shown())
	}
	return differences
}

// unlike is a parameter that differs. Its text is made only to be shown, because values can be large.
type unlike struct {
	name          string
	expected, got *v1.ParamValue // nil if absent
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

// byName returns the values of parameters by name. If a name occurs twice, the last value counts.
func byName(params v1.Params) map[string]*v1.ParamValue {
	values := make(map[string]*v1.ParamValue, len(params))
	for i := range params {
		values[params[i].Name] = &params[i].Value
	}
	return values
}

// countDiffering returns how many parameters differ. values are those of got by name.
func countDiffering(expected, got v1.Params, values map[string]*v1.ParamValue) int {
	n, found := len(got)-len(values), 0 // those that occur twice
	for i := range expected {
		value := values[expected[i].Name]
		if value != nil {
			found++
		}
		if value == nil || !sameValue(expected[i].Value, *value) {
			n++
		}
	}
	if n += max(0, len(values)-found); n > 0 { // with the unexpected ones
		return n
	}
	return len(differing(expected, got)) // which finds names that are expected twice
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

// state matches a reference to a task's status or reason, or to the number of runs of a matrix. Tekton replaces it
// when a task of finally starts, with a word or a number that no step chooses.
var state = regexp.MustCompile(
	`\$\(tasks\.(?:status|[^.()\s]+\.(?:status|reason)|[^.()\s]+\.matrix(?:\.[^()\s]+)?\.length)\)`)

// sameText compares texts. A reference to a state matches any word or number.
func sameText(expected, got string) bool {
	if expected == got {
		return true
	}
	end := strings.LastIndex(expected, ")")
	if end < 0 || len(expected) > maxStateText || !strings.HasSuffix(got, expected[end+1:]) {
		return false // the text behind the last reference differs
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

// skipWord returns the text behind a word and a literal, and whether the text begins with those. The first
// occurrence of the literal will do: if it has only letters and digits, more of it can be part of the next word; if
// not, only one position is possible.
func skipWord(text, literal string) (rest string, ok bool) {
	end := min(len(text), lengthOfWord(text)+len(literal))
	at := strings.Index(text[:end], literal)
	if at < 0 {
		return "", false
	}
	return text[at+len(literal):], true
}

// lengthOfWord returns how many letters and digits begin a text.
func lengthOfWord(text string) int {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return i
		}
	}
	return len(text)
}
