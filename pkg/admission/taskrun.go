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
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// object is a TaskRun as it came.
type object struct {
	state

	fields map[string]json.RawMessage
}

func parseObject(raw []byte) (object, error) {
	var o object
	if err := json.Unmarshal(raw, &o.fields); err != nil {
		return object{}, fmt.Errorf("reading the object: %w", err)
	}
	if status, ok := o.fields["status"]; ok {
		var err error
		if o.state, err = parseState(status); err != nil {
			return object{}, err
		}
	}
	return o, nil
}

// runSpec is what is looked at in a TaskRun's spec.
type runSpec struct {
	ManagedBy *string              `json:"managedBy"`
	Retries   int                  `json:"retries"`
	Status    v1.TaskRunSpecStatus `json:"status"`
}

func (r runSpec) cancelled() bool { return r.Status == v1.TaskRunSpecStatusCancelled }

// spec returns an empty one where it cannot be read: Tekton's own webhook has seen it.
func (o object) spec() runSpec {
	var spec runSpec
	if err := kjson.UnmarshalCaseSensitivePreserveInts(o.fields["spec"], &spec); err != nil {
		return runSpec{}
	}
	return spec
}

// managedByOther reports whether somebody else than Tekton's controller runs the TaskRun.
func (o object) managedByOther() bool {
	manager := o.spec().ManagedBy
	return manager != nil && *manager != verify.TektonController
}

// judgedFields are the fields of the status that a verdict rests on, beside the condition Succeeded. The TaskRun's UID and
// spec cannot change in a status write.
var judgedFields = []string{
	fieldPodName, fieldStartTime, fieldCompletionTime, fieldSteps, fieldRetries, fieldResults, fieldArtifacts, fieldTaskSpec,
}

// sameJudged reports whether two states agree in all that a verdict rests on.
func sameJudged(a, b object) bool {
	if a.succeeded() != b.succeeded() {
		return false
	}
	return !slices.ContainsFunc(judgedFields, func(field string) bool { return !sameJSON(a.state[field], b.state[field]) })
}

// sameState compares two states as a whole. An absent field equals null.
func sameState(a, b state) bool {
	fields := maps.Clone(a)
	if fields == nil {
		fields = state{}
	}
	maps.Copy(fields, b)
	for field := range fields {
		if !sameJSON(a[field], b[field]) {
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

// asStored returns the TaskRun that the API server will store: of a status write it takes the status, and everything else
// from the old object, although the request may carry another spec or another name. Our own condition and record are left out.
func asStored(old object, status state) (*v1.TaskRun, error) {
	wanted, err := status.withoutVerdict()
	if err != nil {
		return nil, err
	}
	encoded, err := encode(wanted)
	if err != nil {
		return nil, err
	}
	stored := maps.Clone(old.fields)
	stored["status"] = encoded
	raw, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encoding the TaskRun: %w", err)
	}
	tr := &v1.TaskRun{}
	if err := strictjson.DecodeOpen(raw, tr); err != nil {
		return nil, fmt.Errorf("reading the TaskRun: %w", err)
	}
	return tr, nil
}

// patchTo returns the operations that make the status of the object the wanted one. add replaces a member that exists, and
// needs the one around it (RFC 6902, section 4.1).
func (o object) patchTo(wanted state) []operation {
	if o.state == nil {
		if len(wanted) == 0 {
			return nil
		}
		return []operation{{Op: "add", Path: "/status", Value: wanted}}
	}
	var patch []operation
	fields := maps.Clone(o.state)
	maps.Copy(fields, wanted)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		value, ok := wanted[field]
		switch {
		case !ok:
			patch = append(patch, operation{Op: "remove", Path: "/status/" + escapePointer(field)})
		case string(value) != string(o.state[field]) && !sameJSON(value, o.state[field]):
			patch = append(patch, operation{Op: "add", Path: "/status/" + escapePointer(field), Value: value})
		}
	}
	return patch
}
