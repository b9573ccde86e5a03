// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// object is a TaskRun as it came.
type object struct {
	state

	members map[string]json.RawMessage
	size    int // in bytes
	id      identity
}

// identity identifies a TaskRun. A status write cannot change it.
type identity struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// parseObject returns the identity of a TaskRun even if its status cannot be read.
func parseObject(raw []byte) (o object, err error) {
	o.size = len(raw)
	if o.members, err = members(raw); err != nil {
		return object{}, fmt.Errorf("reading the object: %w", err)
	}
	if metadata, ok := o.members["metadata"]; ok {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(metadata, &o.id); err != nil {
			return object{}, fmt.Errorf("reading the metadata: %w", err)
		}
	}
	if status, ok := o.members["status"]; ok {
		o.state, err = parseState(status)
	}
	return o, err
}

// runSpec is the part of a TaskRun's spec that is read.
type runSpec struct {
	ManagedBy *string              `json:"managedBy"`
	Retries   int                  `json:"retries"`
	Status    v1.TaskRunSpecStatus `json:"status"`
}

func (r runSpec) cancelled() bool { return r.Status == v1.TaskRunSpecStatusCancelled }

// spec returns the spec, or an empty one if it cannot be read. Tekton's own webhook has checked it.
func (o object) spec() runSpec {
	var spec runSpec
	if err := kjson.UnmarshalCaseSensitivePreserveInts(o.members["spec"], &spec); err != nil {
		return runSpec{}
	}
	return spec
}

// managedByOther reports whether a controller other than Tekton's runs the TaskRun.
func (o object) managedByOther() bool {
	manager := o.spec().ManagedBy
	return manager != nil && *manager != verify.TektonController
}

// sameJudged reports whether two states agree in everything on which a verdict depends. A status write cannot change
// the TaskRun's UID and spec.
func sameJudged(a, b state) bool {
	if !slices.Equal(a.outcomes(), b.outcomes()) {
		return false
	}
	return !slices.ContainsFunc(seal.Fields(),
		func(field string) bool { return !sameJSON(a.fields[field], b.fields[field]) })
}

// subject returns what a seal is about for the TaskRun with this status.
func (i identity) subject(s state) (seal.Subject, error) {
	cond, err := s.condition()
	if err != nil {
		return seal.Subject{}, err
	}
	of := seal.Subject{Namespace: i.Namespace, Name: i.Name, UID: i.UID, Condition: seal.Condition{
		Type: cond.Type, Status: string(cond.Status), Reason: cond.Reason, Message: cond.Message,
	}}
	values := map[string]any{}
	for _, field := range seal.Fields() {
		var value any
		if raw := s.fields[field]; !isNull(raw) {
			if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &value); err != nil {
				return seal.Subject{}, fmt.Errorf("reading status.%s: %w", field, err)
			}
			values[field] = value
		}
	}
	var outcomes []seal.Outcome
	for _, c := range s.outcomes() {
		outcomes = append(outcomes, seal.Outcome{c.Status, c.Reason})
	}
	of.State, err = seal.StateOf(values, outcomes)
	return of, err
}

// sameState compares two states as a whole. An absent field equals null.
func sameState(a, b state) bool {
	fields := a.clone().fields
	maps.Copy(fields, b.fields)
	for field := range fields {
		if !sameJSON(a.fields[field], b.fields[field]) {
			return false
		}
	}
	return true
}

// sameJSON compares values, not bytes. An absent value equals null.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) { // which is what most are, and decoding takes longest
		return true
	}
	var va, vb any
	if len(a) > 0 && json.Unmarshal(a, &va) != nil {
		return false
	}
	if len(b) > 0 && json.Unmarshal(b, &vb) != nil {
		return false
	}
	return reflect.DeepEqual(va, vb)
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// maxOutcomes is how many conditions Succeeded are judged: more than one is too many.
const maxOutcomes = 8

// asStored returns the TaskRun that the API server will store, as far as a verdict depends on it. For a status write
// the API server takes the status from the request, and everything else from the old object, although the request
// can have a different spec or name. Annotations of the status and all conditions except Succeeded are left out.
func asStored(old object, status state) (*v1.TaskRun, error) {
	wanted := status.clone()
	delete(wanted.fields, fieldAnnotations)
	wanted.came, wanted.marks = marks{}, marks{}
	outcomes := slices.DeleteFunc(slices.Clone(status.conditions), func(e entry) bool { return !isSucceeded(e) })
	wanted.setConditions(outcomes[:min(len(outcomes), maxOutcomes)])
	return wholly(old, wanted)
}

// wholly returns the TaskRun with this status, and everything else from the old object.
func wholly(old object, status state) (*v1.TaskRun, error) {
	encoded, err := encode(status)
	if err != nil {
		return nil, err
	}
	stored := maps.Clone(old.members)
	stored["status"] = encoded
	raw, err := encode(stored)
	if err != nil {
		return nil, err
	}
	tr := &v1.TaskRun{}
	if err := strictjson.DecodeOpen(raw, tr); err != nil {
		return nil, fmt.Errorf("reading the TaskRun: %w", err)
	}
	return tr, nil
}

// patchTo returns the operations that turn the object's status into the wanted one. add replaces a member that
// exists, and requires its parent (RFC 6902, section 4.1).
func (o object) patchTo(wanted state) []operation {
	if o.fields == nil {
		if len(wanted.fields) == 0 {
			return nil
		}
		return []operation{{Op: "add", Path: "/status", Value: wanted}}
	}
	var patch []operation
	fields := maps.Clone(o.fields)
	maps.Copy(fields, wanted.fields)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		value, ok := wanted.fields[field]
		switch {
		case !ok:
			patch = append(patch, operation{Op: "remove", Path: "/status/" + escapePointer(field)})
		case !bytes.Equal(value, o.fields[field]):
			patch = append(patch, operation{Op: "add", Path: "/status/" + escapePointer(field), Value: value})
		}
	}
	return append(patch, o.patchMarks(wanted.marks)...)
}

// patchMarks does not touch other annotations, however many there are.
func (o object) patchMarks(wanted marks) []operation {
	changed := wanted.changes(o.marks)
	if !isObject(o.fields[fieldAnnotations]) && len(changed) > 0 {
		all := map[string]json.RawMessage{}
		for key, value := range changed {
			all[key] = json.RawMessage(value)
		}
		return []operation{{Op: "add", Path: "/status/" + fieldAnnotations, Value: all}}
	}
	var patch []operation
	for _, key := range slices.Sorted(maps.Keys(changed)) {
		path := "/status/" + fieldAnnotations + "/" + escapePointer(key)
		if changed[key] == "" {
			patch = append(patch, operation{Op: "remove", Path: path})
		} else {
			patch = append(patch, operation{Op: "add", Path: path, Value: json.RawMessage(changed[key])})
		}
	}
	return patch
}
