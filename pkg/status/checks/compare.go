// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// difference is a field in which an object of the cluster differs from the wanted one.
type difference struct {
	path          string
	expected, got string
}

// none stands for a field that is absent.
const none = "(absent)"

// whole lists, by kind, the parts of an object that are compared whole: the manifests contain every default of them,
// and an additional field can switch them off. Of other kinds, to which the API server adds defaults, only the fields
// in the manifests are compared.
func whole(kind string) []string {
	switch kind {
	case "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding":
		return []string{"spec"}
	case "MutatingWebhookConfiguration":
		return []string{"webhooks"}
	case "ClusterRole", "Role":
		return []string{"rules", "aggregationRule"}
	case "ClusterRoleBinding", "RoleBinding":
		return []string{"roleRef", "subjects"}
	}
	return nil
}

// compareObject lists the differences between live and wanted.
func compareObject(wanted, live *unstructured.Unstructured) []difference {
	c := comparison{}
	if parts := whole(wanted.GetKind()); parts != nil {
		c.whole = true
		for _, part := range parts {
			c.values(part, wanted.Object[part], live.Object[part])
		}
		c.whole = false
	} else {
		c.risky = wanted.GetKind() == "Deployment"
		for key, value := range wanted.Object {
			if !slices.Contains([]string{"apiVersion", "kind", "metadata"}, key) {
				c.values(key, value, live.Object[key])
			}
		}
		c.risky = false
	}
	labels, _, _ := unstructured.NestedMap(wanted.Object, "metadata", "labels")
	liveLabels, _, _ := unstructured.NestedMap(live.Object, "metadata", "labels")
	delete(labels, manifests.LabelVersion) // checkVersion compares it
	c.maps("metadata.labels", labels, liveLabels)
	slices.SortFunc(c.differences, func(a, b difference) int { return strings.Compare(a.path, b.path) })
	return c.differences
}

// comparison walks through two trees of JSON values.
type comparison struct {
	whole       bool // a field that only the cluster has is a difference
	risky       bool // a field that only the cluster has is one if it can change what a container does
	differences []difference
}

// riskyFields can change what a container does even if all fields of the manifests are as they should be.
func riskyFields() []string {
	return []string{
		"args", "envFrom", "ephemeralContainers", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "initContainers",
		"lifecycle", "runtimeClassName", "shareProcessNamespace", "volumeDevices", "volumeMounts", "volumes", "workingDir",
	}
}

func (c *comparison) add(path string, wanted, got any) {
	c.differences = append(c.differences, difference{path: path, expected: jsonText(wanted), got: jsonText(got)})
}

func (c *comparison) values(path string, wanted, got any) {
	switch w := wanted.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok || got == nil {
			c.maps(path, w, g)
			return
		}
	case []any:
		if g, ok := got.([]any); ok || got == nil {
			c.lists(path, w, g)
			return
		}
	}
	if !empty(wanted) || !empty(got) {
		if !reflect.DeepEqual(wanted, got) {
			c.add(path, wanted, got)
		}
	}
}

func (c *comparison) maps(path string, wanted, got map[string]any) {
	keys := map[string]bool{}
	for key := range wanted {
		keys[key] = true
	}
	for key := range got {
		if c.whole || c.risky && slices.Contains(riskyFields(), key) {
			keys[key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		c.values(path+"."+key, wanted[key], got[key])
	}
}

// lists compares elements that have names by name, and others by position.
func (c *comparison) lists(path string, wanted, got []any) {
	wantedByName, ok := byName(wanted)
	gotByName, alsoOK := byName(got)
	switch {
	case ok && alsoOK:
		c.named(path, wantedByName, gotByName)
	case len(wanted) != len(got):
		c.add(path, wanted, got)
	default:
		for i := range wanted {
			c.values(fmt.Sprintf("%s[%d]", path, i), wanted[i], got[i])
		}
	}
}

// named compares the elements of lists by name.
func (c *comparison) named(path string, wanted, got map[string]any) {
	all := maps.Clone(wanted)
	maps.Copy(all, got)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		at := path + "[" + name + "]"
		w, isWanted := wanted[name]
		g, isThere := got[name]
		if !isWanted || !isThere {
			c.add(at, w, g)
			continue
		}
		c.values(at, w, g)
	}
}

// byName returns the elements of a list by name, if every element has a name of its own.
func byName(list []any) (map[string]any, bool) {
	named := map[string]any{}
	for _, element := range list {
		m, ok := element.(map[string]any)
		if !ok {
			return nil, false
		}
		name, ok := m["name"].(string)
		if _, twice := named[name]; !ok || twice {
			return nil, false
		}
		named[name] = m
	}
	return named, true
}

// empty reports whether a value is empty. To the API server an absent list or map is the same as an empty one.
func empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

func jsonText(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	if empty(value) {
		return none
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
