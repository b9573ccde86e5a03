// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"encoding/json"
	"regexp"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/substitution"
)

// replacer replaces references as Tekton does (v1.15.0: pkg/substitution, and ApplyReplacements of parameters and
// when expressions). Tekton's own functions try all values for every text. For a large pipeline, that costs the
// product of both.
type replacer struct {
	replacements
	all *strings.Replacer
}

func (r replacements) replacer() replacer {
	pairs := make([]string, 0, 2*len(r.strings))
	for reference, value := range r.strings {
		pairs = append(pairs, "$("+reference+")", value)
	}
	return replacer{r, strings.NewReplacer(pairs...)}
}

// only returns a replacer without objects. It has lists only if they are asked for.
func (r replacer) only(lists bool) replacer {
	r.objects = nil
	if !lists {
		r.arrays = nil
	}
	return r
}

// text replaces the references in a text.
func (r replacer) text(in string) string {
	if !strings.Contains(in, "$(") {
		return in
	}
	return r.all.Replace(in)
}

// list returns the list that a text refers to, or a list with the text.
func (r replacer) list(in string) []string {
	if reference, ok := strings.CutPrefix(in, "$("); ok {
		for _, end := range []string{")", "[*])"} {
			name, ends := strings.CutSuffix(reference, end)
			if list, ok := r.arrays[name]; ends && ok {
				return list
			}
		}
	}
	return []string{r.text(in)}
}

func (r replacer) lists(in []string) []string {
	out := []string{}
	for _, text := range in {
		out = append(out, r.list(text)...)
	}
	return out
}

// exactly matches a text that consists of one reference, as Tekton defines it.
var exactly = regexp.MustCompile(`^\$\([_a-zA-Z0-9.-]+(\.[_a-zA-Z0-9.-]+)*(\[([0-9]+|\*)\])?\)$`)

// value replaces the references in a value. That can change the value's type.
func (r replacer) value(value *v1.ParamValue) {
	switch value.Type {
	case v1.ParamTypeArray:
		value.ArrayVal = r.lists(value.ArrayVal)
	case v1.ParamTypeObject:
		properties := map[string]string{}
		for key, text := range value.ObjectVal {
			properties[key] = r.text(text)
		}
		value.ObjectVal = properties
	case v1.ParamTypeString:
		r.string(value)
	default:
		r.string(value)
	}
}

func (r replacer) string(value *v1.ParamValue) {
	in := value.StringVal
	if !exactly.MatchString(in) {
		value.StringVal = r.text(in)
		return
	}
	reference := substitution.StripStarVarSubExpression(in)
	if _, ok := r.strings[reference]; ok {
		value.StringVal = r.text(in)
	}
	if _, ok := r.arrays[reference]; ok {
		value.StringVal, value.ArrayVal, value.Type = "", r.list(in), v1.ParamTypeArray
	}
	if properties, ok := r.objects[reference]; ok {
		value.StringVal, value.ObjectVal, value.Type = "", properties, v1.ParamTypeObject
	}
}

func (r replacer) params(params v1.Params) v1.Params {
	params = params.DeepCopy()
	for i := range params {
		r.value(&params[i].Value)
	}
	return params
}

// when replaces the references in a when expression.
func (r replacer) when(expression v1.WhenExpression) v1.WhenExpression {
	out := v1.WhenExpression{Input: r.input(expression.Input), Operator: expression.Operator, CEL: r.text(expression.CEL)}
	for _, value := range expression.Values {
		if r.isList(value) {
			out.Values = append(out.Values, r.list(value)...)
			continue
		}
		out.Values = append(out.Values, r.text(value))
	}
	return out
}

// isList reports whether Tekton reads a text in a when expression as a list.
func (r replacer) isList(text string) bool {
	_, ok := r.arrays[v1.ResultsArrayReference(text)]
	return ok
}

func (r replacer) input(text string) string {
	if !r.isList(text) {
		return r.text(text)
	}
	list, err := json.Marshal(r.list(text))
	if err != nil {
		return text
	}
	return string(list)
}
