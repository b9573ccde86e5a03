// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// evaluator evaluates expressions as an API server does.
type evaluator struct {
	t      *testing.T
	of     string // whose expressions they are
	values map[string]any
}

// newEvaluator returns an evaluator with these variables. The authorizer allows one question, in the form
// /group/resource/namespace/name/verb.
func newEvaluator(t *testing.T, of string, values map[string]any) *evaluator {
	t.Helper()
	allowed, _ := values["authorizer"].(string)
	values["authorizer"] = allowed + authorizerSeparator
	return &evaluator{t: t, of: of, values: values}
}

// authorizerSeparator separates the question that is allowed from the one that is asked.
const authorizerSeparator = "?"

// celEnvironment declares what the expressions use.
var celEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{cel.OptionalTypes(), ext.Strings()}
	for _, name := range []string{"object", "oldObject", "request", "variables", "authorizer", "namespaceObject"} {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	options = append(options, cel.Function("serviceAccount", cel.MemberOverload("question_serviceAccount",
		[]*cel.Type{cel.DynType, cel.StringType, cel.StringType}, cel.DynType, cel.FunctionBinding(
			func(args ...ref.Val) ref.Val {
				return types.String(fmt.Sprintf("%s/%s:%s", args[0].Value(), args[1].Value(), args[2].Value()))
			}))))
	for _, name := range []string{"group", "resource", "subresource", "namespace", "name", "check"} {
		options = append(options, cel.Function(name, cel.MemberOverload("question_"+name,
			[]*cel.Type{cel.DynType, cel.StringType}, cel.DynType, cel.BinaryBinding(func(question, more ref.Val) ref.Val {
				return types.String(question.Value().(string) + "/" + more.Value().(string)) //nolint:forcetypeassert // strings
			}))))
	}
	options = append(options, cel.Function("allowed",
		cel.MemberOverload("question_allowed", []*cel.Type{cel.DynType}, cel.BoolType,
			cel.UnaryBinding(func(question ref.Val) ref.Val {
				text := question.Value().(string) //nolint:forcetypeassert // a string
				allowed, asked, _ := strings.Cut(text, authorizerSeparator)
				return types.Bool(asked == allowed)
			}))))
	return cel.NewEnv(options...)
})

// programs holds compiled expressions, by their text.
var programs sync.Map

func compile(expression string) (cel.Program, error) {
	if program, ok := programs.Load(expression); ok {
		return program.(cel.Program), nil //nolint:forcetypeassert // its only type
	}
	env, err := celEnvironment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	program, err := env.Program(ast)
	if err == nil {
		programs.Store(expression, program)
	}
	return program, err
}

func (e *evaluator) eval(expression string) any {
	e.t.Helper()
	program, err := compile(expression)
	if err != nil {
		e.t.Fatalf("%s: %v", e.of, err)
	}
	out, _, err := program.Eval(e.values)
	if err != nil {
		e.t.Fatalf("%s: %s: %v", e.of, expression, err)
	}
	if optional, ok := out.(*types.Optional); ok {
		return optional
	}
	return out.Value()
}

// matches evaluates match conditions.
func (e *evaluator) matches(conditions []admissionv1.MatchCondition) bool {
	e.t.Helper()
	for _, c := range conditions {
		if e.eval(c.Expression) != true {
			return false
		}
	}
	return true
}

// refusal evaluates a policy. It returns the message of the first rule that refuses, and the message that the
// requester sees, which differs where an expression makes it. Both are empty if no rule refuses.
func refusal(t *testing.T, p *admissionv1.ValidatingAdmissionPolicy, values map[string]any) (message, shown string) {
	t.Helper()
	e := newEvaluator(t, "policy "+p.Name, values)
	if !e.matches(p.Spec.MatchConditions) {
		return "", ""
	}
	variables := map[string]any{}
	e.values["variables"] = variables
	for _, v := range p.Spec.Variables {
		variables[v.Name] = e.eval(v.Expression)
	}
	for _, v := range p.Spec.Validations {
		if e.eval(v.Expression) == true {
			continue
		}
		if v.MessageExpression == "" {
			return v.Message, v.Message
		}
		shown, ok := e.eval(v.MessageExpression).(string)
		if !ok || shown == "" || len(shown) > 5*1024 || strings.ContainsAny(shown, "\n\r") {
			t.Errorf("policy %s: the message %q would not be shown", p.Name, shown)
		}
		return v.Message, shown
	}
	return "", ""
}
