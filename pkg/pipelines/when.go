// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// maxCost bounds the evaluation of an expression: whoever writes a pipeline writes it.
const maxCost = 1_000_000

// Refusing returns the first expression of an applied task that does not let it run, nil if they all do. One that refers to how
// tasks ended is left out.
func Refusing(applied *v1.PipelineTask) (*v1.WhenExpression, error) {
	for _, when := range applied.When {
		if text, err := textOf(when); err != nil || strings.Contains(text, "$(tasks.") {
			continue
		}
		evaluated := map[string]bool{}
		if when.CEL != "" {
			allows, err := evaluate(when.CEL)
			if err != nil {
				return nil, err
			}
			evaluated[when.CEL] = allows
		}
		if !(v1.WhenExpressions{when}).AllowsExecution(evaluated) {
			return &when, nil
		}
	}
	return nil, nil
}

// evaluate returns the value of an expression in CEL, as Tekton does: without variables.
func evaluate(expression string) (bool, error) {
	env, err := cel.NewEnv()
	if err != nil {
		return false, fmt.Errorf("reading a when expression: %w", err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return false, fmt.Errorf("reading a when expression: %w", issues.Err())
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost))
	if err != nil {
		return false, fmt.Errorf("reading a when expression: %w", err)
	}
	value, _, err := program.Eval(map[string]any{})
	if err != nil {
		return false, fmt.Errorf("evaluating a when expression: %w", err)
	}
	allows, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("a when expression: expected true or false, got %v", value.Type())
	}
	return allows, nil
}
