// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/canonical"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// maxMembers caps one object in a projection.
const maxMembers = canonical.MaxMembers

// fieldDigits is how many hex digits of a member's SHA-256 a record keeps, to name the member that changed.
const fieldDigits = 16

// projection is what a record covers of a TaskRun: everything that a verdict depends on, except our own
// condition. Absent and empty members are null.
type projection struct {
	Namespace          *string           `json:"namespace"`
	Name               *string           `json:"name"`
	UID                *string           `json:"uid"`
	CreationTimestamp  *string           `json:"creationTimestamp"` // RFC 3339, UTC, whole seconds
	ServiceAccountName *string           `json:"serviceAccountName"`
	PodName            *string           `json:"podName"`
	StartTime          *string           `json:"startTime"`
	CompletionTime     *string           `json:"completionTime"`
	Succeeded          *outcome          `json:"succeeded"`
	Declared           []declaredResult  `json:"declared"`
	DeclaredSteps      []declaredStep    `json:"declaredSteps"`
	Results            []projectedResult `json:"results"` // sorted by name, without carriers
	Steps              []projectedStep   `json:"steps"`
	Artifacts          *artifacts        `json:"artifacts"`
}

type outcome struct {
	Status *string `json:"status"`
	Reason *string `json:"reason"`
}

type declaredResult struct {
	Name        *string            `json:"name"`
	Type        *string            `json:"type"`
	Description *string            `json:"description"`
	Properties  map[string]*string `json:"properties"` // the type of each
	Value       any                `json:"value"`
}

type declaredStep struct {
	Name    *string          `json:"name"`
	Results []declaredResult `json:"results"`
}

type projectedResult struct {
	Name  *string `json:"name"`
	Type  *string `json:"type"`
	Value any     `json:"value"` // a string, a list or an object
}

type projectedStep struct {
	Name      *string           `json:"name"`
	Container *string           `json:"container"`
	ExitCode  *int32            `json:"exitCode"` // null unless the step has ended
	Reason    *string           `json:"reason"`
	Message   *string           `json:"message"`
	Results   []projectedResult `json:"results"`
	Inputs    []artifact        `json:"inputs"`
	Outputs   []artifact        `json:"outputs"`
}

type artifacts struct {
	Inputs  []artifact `json:"inputs"`
	Outputs []artifact `json:"outputs"`
}

type artifact struct {
	Name        *string         `json:"name"`
	Values      []artifactValue `json:"values"`
	BuildOutput bool            `json:"buildOutput"`
}

type artifactValue struct {
	Digest map[string]string `json:"digest"`
	URI    *string           `json:"uri"`
}

// Projection is what a record covers of a TaskRun.
type Projection struct{ p projection }

// Project returns the projection of a TaskRun as it is now, with which it shares memory. It returns an error
// if the TaskRun is too large to be recorded.
func Project(tr *v1.TaskRun) (Projection, error) {
	p, err := project(tr)
	return Projection{p}, err
}

// Digest returns the hex SHA-256 of the projection's RFC 8785 form.
func (p Projection) Digest() (string, error) { return digestOf(p.p) }

// HasMessages reports whether a step has a termination message. Not every archive keeps them.
func (p Projection) HasMessages() bool {
	return slices.ContainsFunc(p.p.Steps, func(s projectedStep) bool { return s.Message != nil })
}

// WithoutMessages returns the projection without the termination messages.
func (p Projection) WithoutMessages() Projection {
	p.p.Steps = slices.Clone(p.p.Steps)
	for i := range p.p.Steps {
		p.p.Steps[i].Message = nil
	}
	return p
}

// Fields returns, for each member of the projection, the first 16 hex digits of the SHA-256 of the RFC 8785
// form of a list that holds only the member's value. They prove nothing; they help to name the member that
// changed.
func (p Projection) Fields() (map[string]string, error) { return fieldsOf(p.p) }

// digestOf returns the hex SHA-256 of the RFC 8785 form of v.
func digestOf(v any) (string, error) {
	b, err := canonical.JSON(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func fieldsOf(p projection) (map[string]string, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	fields := make(map[string]string, len(members))
	for name, value := range members {
		sum, err := digestOf([]json.RawMessage{value}) // the library wants an object or an array
		if err != nil {
			return nil, err
		}
		fields[name] = sum[:fieldDigits]
	}
	return fields, nil
}

func project(tr *v1.TaskRun) (projection, error) {
	s := &tr.Status
	p := projection{
		Namespace: opt(tr.Namespace), Name: opt(tr.Name), UID: opt(string(tr.UID)),
		CreationTimestamp: optTime(&tr.CreationTimestamp), ServiceAccountName: opt(tr.Spec.ServiceAccountName),
		PodName: opt(s.PodName), StartTime: optTime(s.StartTime), CompletionTime: optTime(s.CompletionTime),
	}
	if c := s.GetCondition(apis.ConditionSucceeded); c != nil {
		p.Succeeded = &outcome{Status: opt(string(c.Status)), Reason: opt(c.Reason)}
	}
	b := builder{}
	if spec := s.TaskSpec; spec != nil {
		for _, r := range spec.Results {
			p.Declared = append(p.Declared, b.declared(r.Name, r.Type, r.Description, r.Properties, r.Value))
		}
		for _, step := range spec.Steps {
			d := declaredStep{Name: opt(step.Name)}
			for _, r := range step.Results {
				d.Results = append(d.Results, b.declared(r.Name, r.Type, r.Description, r.Properties, nil))
			}
			p.DeclaredSteps = append(p.DeclaredSteps, d)
		}
	}
	for _, r := range s.Results {
		if !signing.IsReserved(r.Name) {
			p.Results = append(p.Results, b.result(r))
		}
	}
	slices.SortStableFunc(p.Results, func(x, y projectedResult) int { return cmp.Compare(deref(x.Name), deref(y.Name)) })
	for i := range s.Steps {
		p.Steps = append(p.Steps, b.step(&s.Steps[i]))
	}
	if a := s.Artifacts; a != nil && len(a.Inputs)+len(a.Outputs) > 0 {
		p.Artifacts = &artifacts{Inputs: b.artifacts(a.Inputs), Outputs: b.artifacts(a.Outputs)}
	}
	return p, b.err
}

// builder makes parts of a projection and keeps the first error.
type builder struct{ err error }

func (b *builder) cap(members int) {
	if members > maxMembers && b.err == nil {
		b.err = fmt.Errorf("expected objects with at most %d members, got one with %d: it is too large to be recorded",
			maxMembers, members)
	}
}

func (b *builder) step(s *v1.StepState) projectedStep {
	p := projectedStep{
		Name: opt(s.Name), Container: opt(s.Container), Inputs: b.artifacts(s.Inputs), Outputs: b.artifacts(s.Outputs),
	}
	if t := s.Terminated; t != nil {
		code := t.ExitCode
		p.ExitCode, p.Reason, p.Message = &code, opt(t.Reason), opt(t.Message)
	}
	for _, r := range s.Results {
		p.Results = append(p.Results, b.result(r))
	}
	return p
}

func (b *builder) declared(
	name string, kind v1.ResultsType, description string, properties map[string]v1.PropertySpec, value *v1.ParamValue,
) declaredResult {
	d := declaredResult{Name: opt(name), Type: opt(string(kind)), Description: opt(description)}
	b.cap(len(properties))
	for property, spec := range properties {
		if d.Properties == nil {
			d.Properties = map[string]*string{}
		}
		d.Properties[property] = opt(string(spec.Type))
	}
	if value != nil {
		d.Value = b.value(*value)
	}
	return d
}

func (b *builder) result(r v1.TaskRunResult) projectedResult {
	return projectedResult{Name: opt(r.Name), Type: opt(string(r.Type)), Value: b.value(r.Value)}
}

// value returns the value in its JSON form. An empty value is not absent.
func (b *builder) value(v v1.ParamValue) any {
	switch v.Type {
	case v1.ParamTypeArray:
		return append([]string{}, v.ArrayVal...)
	case v1.ParamTypeObject:
		b.cap(len(v.ObjectVal))
		object := make(map[string]string, len(v.ObjectVal))
		for name, text := range v.ObjectVal {
			object[name] = text
		}
		return object
	case v1.ParamTypeString:
	}
	return v.StringVal
}

func (b *builder) artifacts(list []v1.Artifact) []artifact {
	var all []artifact
	for _, a := range list {
		p := artifact{Name: opt(a.Name), BuildOutput: a.BuildOutput}
		for _, v := range a.Values {
			value := artifactValue{URI: opt(v.Uri)}
			b.cap(len(v.Digest))
			for algorithm, digest := range v.Digest {
				if value.Digest == nil {
					value.Digest = map[string]string{}
				}
				value.Digest[string(algorithm)] = digest
			}
			p.Values = append(p.Values, value)
		}
		all = append(all, p)
	}
	return all
}

func opt(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func optTime(t *metav1.Time) *string {
	if t.IsZero() {
		return nil
	}
	return opt(t.UTC().Format(time.RFC3339))
}
