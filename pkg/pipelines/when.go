// SPDX-License-Identifier: Apache-2.0

package pipelines

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
)

// Limits for the expressions of one PipelineRun, because the author of a pipeline chooses them.
const (
	maxCost        = 1_000_000 // of evaluating all of them
	maxExpressions = 1000
	maxCEL         = 256 << 10 // bytes in total
)

// conditions evaluates when expressions.
type conditions struct {
	env         *cel.Env
	cost        uint64 // left
	expressions int    // so far
	size        int
}

func newConditions() *conditions { return &conditions{cost: maxCost} }

// Refusing returns the first expression of an applied task that does not allow it to run, or nil. It skips
// expressions that refer to states of tasks.
func Refusing(applied *v1.PipelineTask) (*v1.WhenExpression, error) {
	return newConditions().refusing(applied)
}

func (c *conditions) refusing(applied *v1.PipelineTask) (*v1.WhenExpression, error) {
	for _, when := range applied.When {
		if text, err := textOf(when); err != nil || strings.Contains(text, "$(tasks.") {
			continue
		}
		evaluated := map[string]bool{}
		if when.CEL != "" {
			allows, err := c.evaluate(when.CEL)
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

// evaluate returns the value of a CEL expression. Like in Tekton, there are no variables.
func (c *conditions) evaluate(expression string) (bool, error) {
	c.expressions++
	c.size += len(expression)
	if c.expressions > maxExpressions || c.size > maxCEL {
		return false, fmt.Errorf("expected at most %d when expressions in CEL with %d bytes in total, got more",
			maxExpressions, maxCEL)
	}
	program, err := c.program(expression)
	if err != nil {
		return false, fmt.Errorf("reading a when expression: %w", err)
	}
	value, details, err := program.Eval(map[string]any{})
	if details != nil && details.ActualCost() != nil {
		c.cost -= min(c.cost, *details.ActualCost())
	}
	if err != nil {
		return false, fmt.Errorf("evaluating a when expression: %w", err)
	}
	allows, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("a when expression: expected true or false, got %v", value.Type())
	}
	return allows, nil
}

func (c *conditions) program(expression string) (cel.Program, error) {
	if c.env == nil {
		env, err := cel.NewEnv()
		if err != nil {
			return nil, err
		}
		c.env = env
	}
	ast, issues := c.env.Compile(expression)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	return c.env.Program(ast, cel.CostLimit(c.cost))
}
