// SPDX-License-Identifier: Apache-2.0

// Package source reads TaskRuns from files that anybody may have written: JSON and YAML, one object or a List, one document
// or many. Nothing is skipped in silence: what is no TaskRun is an error with its place.
package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// Caps of the input.
const (
	MaxBytes       = 64 << 20 // of a whole file
	maxObjectBytes = 8 << 20  // of one TaskRun
	maxResults     = 4096     // of one TaskRun
)

// howTo is the next step in errors about what a file holds.
const howTo = "write one with kubectl get taskrun NAME -o yaml"

// Item is one object of the input: a TaskRun, or the error that says why it is none.
type Item struct {
	Place   string // which object of the input it is, for people; empty if it is the only one
	TaskRun *v1.TaskRun
	Err     error
}

// header is what tells one Kubernetes object from another.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

// Read returns every object in r. The error is for input of which nothing can be told apart: empty, too large, or neither
// JSON nor YAML.
func Read(r io.Reader) ([]Item, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("larger than %d MiB: split it", MaxBytes>>20)
	}
	documents, err := split(data)
	if err != nil {
		return nil, fmt.Errorf("%w: expected a TaskRun, %s", err, howTo)
	}
	if len(documents) == 0 {
		return nil, fmt.Errorf("empty: expected a TaskRun, %s", howTo)
	}
	var items []Item
	for i, document := range documents {
		place := ""
		if len(documents) > 1 {
			place = fmt.Sprintf("document %d", i+1)
		}
		items = append(items, readDocument(document, place)...)
	}
	return items, nil
}

// split returns the JSON form of every document in data.
func split(data []byte) ([][]byte, error) {
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) == 0 {
		return nil, nil
	}
	if trimmed[0] != '{' && trimmed[0] != '[' {
		return splitYAML(data)
	}
	var documents [][]byte
	decoder := json.NewDecoder(bytes.NewReader(data))
	for {
		var document json.RawMessage
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("no valid JSON at byte %d: %w", decoder.InputOffset(), err)
		}
		documents = append(documents, document)
	}
}

// readDocument returns the objects of one document: itself, or the items of a List.
func readDocument(document []byte, place string) []Item {
	var h header
	if err := strictjson.DecodeOpen(document, &h); err != nil {
		return []Item{{Place: place, Err: fmt.Errorf("expected a Kubernetes object: %w", err)}}
	}
	if h.Kind != "List" && h.Kind != "TaskRunList" {
		tr, err := Decode(document)
		return []Item{{Place: place, TaskRun: tr, Err: err}}
	}
	var list struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := strictjson.DecodeOpen(document, &list); err != nil {
		return []Item{{Place: place, Err: err}}
	}
	if len(list.Items) == 0 {
		return []Item{{Place: place, Err: fmt.Errorf("the %s has no items: expected TaskRuns", h.Kind)}}
	}
	if place != "" {
		place += ", "
	}
	items := make([]Item, len(list.Items))
	for i, item := range list.Items {
		items[i].Place = fmt.Sprintf("%sitem %d", place, i+1)
		items[i].TaskRun, items[i].Err = Decode(item)
	}
	return items
}

// Decode reads one TaskRun of version v1 or v1beta1 from JSON. A key that stands twice or differs from a field's name in
// case is an error; fields of later Tekton versions are not.
func Decode(data []byte) (*v1.TaskRun, error) {
	if len(data) > maxObjectBytes {
		return nil, fmt.Errorf("larger than %d MiB", maxObjectBytes>>20)
	}
	var h header
	if err := strictjson.DecodeOpen(data, &h); err != nil {
		return nil, fmt.Errorf("expected a TaskRun: %w", err)
	}
	var tr *v1.TaskRun
	var err error
	switch {
	case h.Kind == "TaskRun" && h.APIVersion == "tekton.dev/v1":
		tr, err = decodeInto(data, &v1.TaskRun{})
	case h.Kind == "TaskRun" && h.APIVersion == "tekton.dev/v1beta1":
		tr, err = decodeV1beta1(data)
	default:
		return nil, &KindError{Kind: h.Kind, APIVersion: h.APIVersion, Name: h.Metadata.Name}
	}
	if err != nil {
		return nil, fmt.Errorf("reading TaskRun %s/%s: %w", h.Metadata.Namespace, h.Metadata.Name, err)
	}
	if n := len(tr.Status.Results); n > maxResults {
		return nil, fmt.Errorf("reading TaskRun %s/%s: expected at most %d results, got %d", tr.Namespace, tr.Name, maxResults, n)
	}
	return tr, nil
}

// KindError says that an object is no TaskRun.
type KindError struct{ Kind, APIVersion, Name string }

func (e *KindError) Error() string {
	if e.Kind == "" {
		return fmt.Sprintf("expected kind TaskRun of tekton.dev/v1, got an object without kind: %s", howTo)
	}
	return fmt.Sprintf("expected kind TaskRun of tekton.dev/v1, got kind %s of %s: %s", e.Kind, e.APIVersion, howTo)
}

func decodeInto(data []byte, tr *v1.TaskRun) (*v1.TaskRun, error) {
	return tr, strictjson.DecodeOpen(data, tr)
}

// decodeV1beta1 lets Tekton convert the object, as its webhook does for API clients.
func decodeV1beta1(data []byte) (*v1.TaskRun, error) {
	var old v1beta1.TaskRun
	if err := strictjson.DecodeOpen(data, &old); err != nil {
		return nil, err
	}
	for i := range old.Status.Steps {
		if len(old.Status.Steps[i].Inputs)+len(old.Status.Steps[i].Outputs) > 0 {
			return nil, fmt.Errorf("tekton.dev/v1beta1 has no place for the TaskRun's artifacts: " +
				"read it as v1 with kubectl get taskruns.v1.tekton.dev")
		}
	}
	tr := &v1.TaskRun{}
	if err := old.ConvertTo(context.Background(), tr); err != nil {
		return nil, fmt.Errorf("converting from tekton.dev/v1beta1: %w", err)
	}
	return tr, nil
}
