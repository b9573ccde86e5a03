// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// header has the fields that identify a Kubernetes object.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Data struct {
		Type string `json:"type"`
	} `json:"data"` // of a record of Tekton Results
}

// Decode reads one TaskRun of version v1 or v1beta1 from JSON, or one in a record of Tekton Results. A key
// that occurs twice, or that differs from a field's name only in case, is an error. Fields of later Tekton
// versions are not.
func Decode(data []byte) (*v1.TaskRun, error) {
	if len(data) > maxObjectBytes {
		return nil, errLarge
	}
	if tr := decodeUsual(data); tr != nil {
		return tr, nil
	}
	var h header
	if err := strictjson.DecodeOpen(data, &h); err != nil {
		return nil, fmt.Errorf("expected a Kubernetes object: %w", err)
	}
	if h.Kind == "" && h.Data.Type != "" {
		return decodeRecord(data)
	}
	return decodeTaskRun(data, h)
}

// decodeUsual reads the most common kind of input in one pass. It returns nil for any other input and on any
// error; the slower way then reports the error.
func decodeUsual(data []byte) *v1.TaskRun {
	peeked := strictjson.Peek(data, "apiVersion", "kind")
	if peeked["kind"] != "TaskRun" || peeked["apiVersion"] != "tekton.dev/v1" {
		return nil
	}
	tr := &v1.TaskRun{}
	if open, err := strictjson.DecodeKnown(data, tr); err != nil || open || len(tr.Status.Results) > maxResults ||
		doubtful(&tr.Status) {
		return nil
	}
	if checkName(tr) != nil || tr.Kind != peeked["kind"] || tr.APIVersion != peeked["apiVersion"] {
		return nil
	}
	return tr
}

// decodeTaskRun reads a TaskRun with header h.
func decodeTaskRun(data []byte, h header) (*v1.TaskRun, error) {
	var tr *v1.TaskRun
	var err error
	switch {
	case h.Kind == "TaskRun" && h.APIVersion == "tekton.dev/v1":
		tr = &v1.TaskRun{}
		if err = strictjson.DecodeOpen(data, tr); err == nil {
			err = checkVersion(data, tr, &v1beta1.TaskRun{}, "v1")
		}
	case h.Kind == "TaskRun" && h.APIVersion == "tekton.dev/v1beta1":
		tr, err = decodeV1beta1(data)
	default:
		return nil, &KindError{Kind: h.Kind, APIVersion: h.APIVersion, Name: h.Metadata.Name}
	}
	if err != nil {
		return nil, fmt.Errorf("reading TaskRun %s/%s: %w", h.Metadata.Namespace, h.Metadata.Name, err)
	}
	if err := checkName(tr); err != nil {
		return nil, err
	}
	if err := checkValues(data, tr); err != nil {
		return nil, fmt.Errorf("reading TaskRun %s/%s: %w", h.Metadata.Namespace, h.Metadata.Name, err)
	}
	if n := len(tr.Status.Results); n > maxResults {
		return nil, fmt.Errorf("reading TaskRun %s/%s: expected at most %d results, got %d", tr.Namespace, tr.Name,
			maxResults, n)
	}
	return tr, nil
}

// maxName is the maximum length of a Kubernetes name or UID, in bytes.
const maxName = 253

// checkName refuses names that no API server stores. The report repeats the name of a TaskRun for each of its
// attempts, so it must not be long.
func checkName(tr *v1.TaskRun) error {
	for field, text := range map[string]string{"name": tr.Name, "namespace": tr.Namespace, "uid": string(tr.UID)} {
		if len(text) > maxName {
			return fmt.Errorf("reading a TaskRun: metadata.%s has %d bytes, and Kubernetes allows %d at most", field, len(text),
				maxName)
		}
	}
	return nil
}

// KindError means that an object is not a TaskRun.
type KindError struct{ Kind, APIVersion, Name string }

func (e *KindError) Error() string {
	switch e.Kind {
	case "":
		return fmt.Sprintf("expected kind TaskRun of tekton.dev/v1, got an object without kind: %s", howTo)
	case "List", "TaskRunList":
		return fmt.Sprintf("expected kind TaskRun of tekton.dev/v1, got kind %s of %s that has no items, or not as kubectl "+
			"writes them: %s", e.Kind, e.APIVersion, howTo)
	}
	return fmt.Sprintf("expected kind TaskRun of tekton.dev/v1, got kind %s of %s: %s", e.Kind, e.APIVersion, howTo)
}

// decodeV1beta1 lets Tekton convert the object, as its webhook does for API clients.
func decodeV1beta1(data []byte) (*v1.TaskRun, error) {
	var old v1beta1.TaskRun
	if err := strictjson.DecodeOpen(data, &old); err != nil {
		return nil, err
	}
	if err := checkVersion(data, &old, &v1.TaskRun{}, "v1beta1"); err != nil {
		return nil, err
	}
	tr := &v1.TaskRun{}
	if err := old.ConvertTo(context.Background(), tr); err != nil {
		return nil, fmt.Errorf("converting from tekton.dev/v1beta1: %w", err)
	}
	if lacksArtifacts(&old, tr) {
		return nil, errNoArtifacts
	}
	return tr, nil
}

// record is a Record of the Tekton Results API, as its commands and its REST interface write it in JSON.
type record struct {
	Name string `json:"name"` // <namespace>/results/<uid>/records/<uid>
	Data struct {
		Type  string `json:"type"`  // <apiVersion>.<kind>
		Value string `json:"value"` // base64 of the object's JSON
	} `json:"data"`
}

// decodeRecord returns the TaskRun in a record of Tekton Results. Records of other types are *Omitted.
func decodeRecord(data []byte) (*v1.TaskRun, error) {
	var r record
	if err := strictjson.DecodeOpen(data, &r); err != nil {
		return nil, fmt.Errorf("expected a record of Tekton Results: %w", err)
	}
	switch r.Data.Type {
	case "tekton.dev/v1.TaskRun", "tekton.dev/v1beta1.TaskRun":
	case "":
		return nil, fmt.Errorf("the record %s has no data.type: export it with all its fields", r.Name)
	default:
		return nil, &Omitted{What: "records of type " + r.Data.Type}
	}
	if strings.ContainsAny(r.Data.Value, "\r\n") { // the decoder ignores them
		return nil, fmt.Errorf("data.value of the record %s: line breaks in base64", r.Name)
	}
	object, err := base64.StdEncoding.Strict().DecodeString(r.Data.Value)
	if err != nil {
		return nil, fmt.Errorf("data.value of the record %s: %w", r.Name, err)
	}
	var h header
	if err := strictjson.DecodeOpen(object, &h); err != nil {
		return nil, fmt.Errorf("data.value of the record %s: %w", r.Name, err)
	}
	tr, err := decodeTaskRun(object, h)
	if err != nil {
		return nil, fmt.Errorf("data.value of the record %s: %w", r.Name, err)
	}
	return tr, nil
}
