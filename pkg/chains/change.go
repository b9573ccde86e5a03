// SPDX-License-Identifier: Apache-2.0

package chains

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Change is what an action does to an object's metadata.
type Change struct {
	Set        map[string]string // annotations
	Remove     []string          // annotations
	Finalizers []string          // all of them, afterwards
}

// Change returns what the decision does to the object.
func (d Decision) Change(r Run) Change {
	without := slices.DeleteFunc(slices.Clone(r.Finalizers), func(f string) bool { return f == Finalizer })
	c := Change{Finalizers: r.Finalizers}
	switch d.Action {
	case Nothing:
	case Place:
		c.Set = map[string]string{Hold: HoldValue, Marker: r.prefix() + string(Held)}
		if r.Deleted.IsZero() { // else the API server takes no new finalizer
			c.Finalizers = slices.Concat(without, []string{Finalizer})
		}
	case Release:
		c.Set, c.Remove = map[string]string{Marker: r.prefix() + string(Released)}, []string{Hold}
		if r.watchedByChains() {
			c.Finalizers = without
		}
	case Refuse:
		c.Set = map[string]string{Hold: HoldValue, Marker: r.prefix() + string(Refused) + ", " + d.Why}
		c.Finalizers = without
	case Forget:
		c.Finalizers = without
	case Withdraw:
		c.Remove, c.Finalizers = []string{Hold, Marker}, without
	}
	return c
}

// MergePatch returns the change as a JSON merge patch (RFC 7386) for this version of the object. The API
// server answers with a conflict if the object has changed.
func (c Change) MergePatch(r Run) ([]byte, error) {
	annotations := map[string]any{}
	for key, value := range c.Set {
		annotations[key] = value
	}
	for _, key := range c.Remove {
		annotations[key] = nil
	}
	metadata := map[string]any{"uid": r.UID, "resourceVersion": r.ResourceVersion}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	if !slices.Equal(c.Finalizers, r.Finalizers) {
		metadata["finalizers"] = c.Finalizers
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return nil, fmt.Errorf("encoding the patch: %w", err)
	}
	return patch, nil
}

// Operation is one operation of a JSON patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// JSONPatch returns the change as operations on an object at admission. submitted are the object's
// annotations.
func (c Change) JSONPatch(submitted map[string]string) []Operation {
	annotations := map[string]string{}
	maps.Copy(annotations, submitted)
	maps.Copy(annotations, c.Set)
	for _, key := range c.Remove {
		delete(annotations, key)
	}
	return []Operation{
		{Op: "add", Path: "/metadata/annotations", Value: annotations},
		{Op: "add", Path: "/metadata/finalizers", Value: c.Finalizers},
	}
}
