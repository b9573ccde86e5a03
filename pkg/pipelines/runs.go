// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// runs are the parameters of each run of a task.
type runs struct {
	all   []v1.Params
	by    map[string][]int // by keyOf
	loose bool             // there are references to states, so other parameters can match, too
}

func runsOf(applied *v1.PipelineTask) (*runs, error) {
	all, err := Combinations(applied)
	if err != nil {
		return nil, err
	}
	r := &runs{all: all, by: map[string][]int{}}
	for i, params := range all {
		r.loose = r.loose || slices.ContainsFunc(params, func(p v1.Param) bool { return hasState(p.Value) })
		if key, ok := keyOf(params); ok {
			r.by[key] = append(r.by[key], i)
		}
	}
	return r, nil
}

func hasState(value v1.ParamValue) bool {
	return state.MatchString(value.StringVal) || slices.ContainsFunc(value.ArrayVal, state.MatchString) ||
		slices.ContainsFunc(slices.Collect(maps.Values(value.ObjectVal)), state.MatchString)
}

// keyOf returns a text that identifies the parameters. It returns false if a name occurs twice: such parameters
// never match.
func keyOf(params v1.Params) (string, bool) {
	sorted := make([]*v1.Param, len(params))
	for i := range params {
		sorted[i] = &params[i]
	}
	slices.SortFunc(sorted, func(a, b *v1.Param) int { return strings.Compare(a.Name, b.Name) })
	var key strings.Builder
	for i, p := range sorted {
		if i > 0 && sorted[i-1].Name == p.Name {
			return "", false
		}
		writeKey(&key, p)
	}
	return key.String(), true
}

func writeKey(key *strings.Builder, p *v1.Param) {
	kind := kindOf(p.Value)
	texts := []string{p.Name, string(kind)}
	switch kind {
	case v1.ParamTypeArray:
		texts = append(texts, p.Value.ArrayVal...)
	case v1.ParamTypeObject:
		for _, name := range slices.Sorted(maps.Keys(p.Value.ObjectVal)) {
			texts = append(texts, name, p.Value.ObjectVal[name])
		}
	case v1.ParamTypeString:
		texts = append(texts, p.Value.StringVal)
	default:
		texts = append(texts, p.Value.StringVal)
	}
	fmt.Fprintf(key, "%d;", len(texts))
	for _, text := range texts {
		fmt.Fprintf(key, "%d:%s", len(text), text)
	}
}

// spend counts comparisons of parameters. It returns an error if there are too many.
func (b *budget) spend(n int) error {
	if b.compared += n; b.compared > maxCompared {
		return fmt.Errorf("expected to compare at most %d parameters with those of matrices, got more", maxCompared)
	}
	return nil
}

// differences returns how parameters differ from those of the closest run.
func (b *budget) differences(r *runs, got v1.Params) ([]Difference, error) {
	if key, ok := keyOf(got); ok && len(r.by[key]) > 0 {
		return nil, nil
	}
	if len(r.all) > 1 {
		if err := b.spend(len(r.all) * (len(r.all[0]) + len(got))); err != nil {
			return nil, err
		}
	}
	return closest(r.all, got), nil
}

// combinations checks that the children are the runs of the matrix, each once.
func (j *judge) combinations(p *prepared) {
	if len(p.children) != len(p.runs.all) && j.completed() {
		expected, got := fmt.Sprintf("%d runs of its matrix", len(p.runs.all)), fmt.Sprint(len(p.children))
		j.add(CheckChildren, verify.Fail, p.task.Name, expected, got, "the number of runs does not match the matrix")
		return
	}
	taken := make([]bool, len(p.runs.all))
	next := map[string]int{}
	for _, c := range p.children {
		fits, free, err := j.place(p.runs, paramsOf(c), taken, next)
		switch {
		case err != nil:
			j.add(CheckChildren, verify.Unknown, c.Name, "", "", err.Error())
			return
		case fits && !free:
			j.add(CheckChildren, verify.Fail, c.Name, "a combination of its own", "one that another run has",
				"two runs of the matrix are the same")
		}
	}
}

// place finds a run of the matrix that has these parameters, and marks it as taken. It reports whether there is one,
// and whether one of them was free. next is how many runs with a key are taken.
func (b *budget) place(r *runs, got v1.Params, taken []bool, next map[string]int) (fits, free bool, err error) {
	if !r.loose {
		key, ok := keyOf(got)
		at := next[key]
		next[key]++
		return ok && len(r.by[key]) > 0, ok && at < len(r.by[key]), nil
	}
	if err := b.spend(len(r.all) * len(got)); err != nil {
		return false, false, err
	}
	values := byName(got)
	for i, params := range r.all {
		if countDiffering(params, got, values) > 0 {
			continue
		}
		fits = true
		if !taken[i] {
			taken[i] = true
			return true, true, nil
		}
	}
	return fits, false, nil
}
