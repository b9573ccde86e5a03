// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// difference is a field in which an object of the cluster is not as enable makes it.
type difference struct {
	path          string
	expected, got string
}

// none stands for what is not there.
const none = "(absent)"

// whole lists, by kind, the parts of an object that are compared whole: the manifests spell out every default, and one field
// more can switch any of these off. Of other kinds, whose defaults the API server adds, only what the manifests say is
// compared.
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

// compareObject lists in what live differs from wanted.
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
	delete(labels, manifests.LabelVersion) // a check of its own
	c.maps("metadata.labels", labels, liveLabels)
	slices.SortFunc(c.differences, func(a, b difference) int { return compareText(a.path, b.path) })
	return c.differences
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// comparison walks through two trees of JSON values.
type comparison struct {
	whole       bool // what only the cluster has is a difference, too
	risky       bool // what only the cluster has is one if it can change what a container does
	differences []difference
}

// riskyFields make a container another one although everything that the manifests say of it holds.
func riskyFields() []string {
	return []string{
		"args", "envFrom", "ephemeralContainers", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "initContainers", "lifecycle",
		"runtimeClassName", "shareProcessNamespace", "volumeDevices", "volumeMounts", "volumes", "workingDir",
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

// lists compares elements that have names by their names, and others by their places.
func (c *comparison) lists(path string, wanted, got []any) {
	wantedByName, ok := byName(wanted)
	gotByName, alsoOK := byName(got)
	switch {
	case ok && alsoOK:
		names := maps.Clone(wantedByName)
		maps.Copy(names, gotByName)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			at := path + "[" + name + "]"
			w, isWanted := wantedByName[name]
			g, isThere := gotByName[name]
			if !isWanted || !isThere {
				c.add(at, w, g)
				continue
			}
			c.values(at, w, g)
		}
	case len(wanted) != len(got):
		c.add(path, wanted, got)
	default:
		for i := range wanted {
			c.values(fmt.Sprintf("%s[%d]", path, i), wanted[i], got[i])
		}
	}
}

// byName returns the elements of a list by their names, if all have different ones.
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

// empty reports whether a value says nothing: the API server takes an absent list or map for an empty one.
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
