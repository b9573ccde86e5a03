// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// ConfigMapName is the name of the ConfigMap in the add-on's namespace.
const ConfigMapName = "delivery"

// None is the delivery of a namespace that the signer cannot reach at all.
const None settings.Delivery = "none"

// Source is who found an exception. It is the last part of a key.
type Source string

// The sources.
const (
	Trial Source = "trial" // the keeper: the API server refused a dry run of a pod with the signer
	Start Source = "start" // the leading controller: a pod could not start because of the signer
	// Mount is also the leading controller: a pod could not start because its node did not mount a volume of the
	// backend.
	Mount Source = "mount"
	// Once is also the leading controller: the pod of one TaskRun waits for a volume of the backend, and nothing proves
	// that other pods would. Anyone who can create events can make it appear so. These exceptions hold for one TaskRun.
	Once Source = "once"
	// Refusal is also the leading controller: a policy refused the pod of a TaskRun, and a dry run did not show
	// why.
	Refusal Source = "refusal"
)

// sources lists all sources of exceptions for namespaces, in order of precedence.
func sources() []Source { return []Source{Trial, Start, Mount, Refusal} }

// keyRefused is the last part of the key with which the leading controller requests a trial after a pod was
// refused.
const keyRefused = "refused"

// MaxReason is the maximum length of a stored reason, in bytes.
const MaxReason = 200

// maxValue is the maximum length of a value, in bytes: an exception with a long reason and a long image
// reference.
const maxValue = 2048

// Exception is how the signer reaches the pods of one namespace or TaskRun, if not as the settings require.
type Exception struct {
	Delivery settings.Delivery `json:"delivery"` // image, init or None
	Reason   string            `json:"reason"`   // for people, who see it escaped; at most MaxReason bytes
	// the signer's image at that time; the exception does not apply to other images
	Image string    `json:"image"`
	Since time.Time `json:"since"`
	// Node is where a volume was not mounted, of sources Mount and Once only.
	Node string `json:"node,omitempty"`
	// TaskRun is the UID of the TaskRun, of source Once only. It is a part of the key.
	TaskRun types.UID `json:"-"`
}

// Same reports whether two exceptions are equal except for their time.
func (e Exception) Same(o Exception) bool {
	e.Since, o.Since = time.Time{}, time.Time{}
	return e == o
}

// encode returns the value of a key.
func (e Exception) encode() (string, error) {
	e.Reason, e.Since = display.Cut(e.Reason, MaxReason), e.Since.UTC().Truncate(time.Second)
	value, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encoding an exception: %w", err)
	}
	_, err = parseException(string(value))
	return string(value), err
}

func parseException(value string) (Exception, error) {
	if len(value) > maxValue {
		return Exception{}, fmt.Errorf("expected at most %d bytes, got %d", maxValue, len(value))
	}
	var e Exception
	if err := strictjson.Decode([]byte(value), &e); err != nil {
		return Exception{}, err
	}
	switch {
	case e.Delivery != settings.DeliveryImage && e.Delivery != settings.DeliveryInit && e.Delivery != None:
		return Exception{}, fmt.Errorf("delivery: expected %s, %s or %s, got %q", settings.DeliveryImage,
			settings.DeliveryInit, None, e.Delivery)
	case e.Image == "":
		return Exception{}, fmt.Errorf("image: expected the signer's, got none")
	case e.Node != "" && len(validation.IsDNS1123Subdomain(e.Node)) > 0:
		return Exception{}, fmt.Errorf("node: expected the name of a node, got %q", display.Cut(e.Node, MaxReason))
	case len(e.Reason) > MaxReason:
		return Exception{}, fmt.Errorf("reason: expected at most %d bytes, got %d", MaxReason, len(e.Reason))
	}
	return e, nil
}

// Entry is an exception with the parts of its key.
type Entry struct {
	Namespace string
	Source    Source
	Exception
}

func (e Entry) id() id { return id{e.Namespace, e.Source, e.TaskRun} }

// Table is the content of the ConfigMap.
type Table struct {
	exceptions map[id]Exception
	refused    map[string]string // namespaces with a requested trial, with the value of the request
	unreadable []string
}

// id holds the parts of a key.
type id struct {
	namespace string
	source    Source
	taskRun   types.UID // of source Once only
}

func (i id) key() string {
	if i.source == Once {
		return i.namespace + "." + string(i.taskRun) + "." + string(i.source)
	}
	return i.namespace + "." + string(i.source)
}

// parseKey parses a key. Neither the name of a namespace nor the UID of a TaskRun can have a dot.
func parseKey(key string) (id, error) {
	parts := strings.Split(key, ".")
	i := id{namespace: parts[0], source: Source(parts[len(parts)-1])}
	known := len(parts) == 2 && (i.source == keyRefused || slices.Contains(sources(), i.source))
	if len(parts) == 3 && i.source == Once {
		i.taskRun = types.UID(parts[1])
		known = len(validation.IsDNS1123Label(parts[1])) == 0
	}
	if !known || len(validation.IsDNS1123Label(i.namespace)) > 0 {
		return id{}, fmt.Errorf("expected a namespace with .%s, .%s, .%s, .%s, .%s, or the UID of a TaskRun and .%s", Trial,
			Start, Mount, Refusal, keyRefused, Once)
	}
	return i, nil
}

// Parse reads the data of the ConfigMap. It leaves out keys that cannot be read; Unreadable lists them.
func Parse(data map[string]string) Table {
	t := Table{exceptions: map[id]Exception{}, refused: map[string]string{}}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		i, err := parseKey(key)
		switch {
		case err != nil:
		case i.source == keyRefused:
			t.refused[i.namespace] = data[key]
		default:
			err = t.read(i, data[key])
		}
		if err != nil {
			t.unreadable = append(t.unreadable, fmt.Sprintf("key %s: %v", display.Safe(key), err))
		}
	}
	return t
}

// read adds the exception of a key.
func (t Table) read(i id, value string) error {
	e, err := parseException(value)
	if err != nil {
		return err
	}
	e.TaskRun = i.taskRun
	t.exceptions[i] = e
	return nil
}

// Unreadable returns the errors of the keys that were left out.
func (t Table) Unreadable() []string { return t.unreadable }

// Of returns a source's exception for a namespace, with any image.
func (t Table) Of(namespace string, source Source) (Exception, bool) {
	e, ok := t.exceptions[id{namespace: namespace, source: source}]
	return e, ok
}

// ForTaskRun returns the entry that applies to the pods of a TaskRun for a signer's image: that of its namespace, or
// its own.
func (t Table) ForTaskRun(namespace string, taskRun types.UID, image string) (Entry, bool) {
	e, ok := t.For(namespace, image)
	if ok && e.Delivery == None {
		return e, true
	}
	if own, has := t.exceptions[id{namespace, Once, taskRun}]; has && own.Image == image {
		return Entry{namespace, Once, own}, true
	}
	return e, ok
}

// For returns the entry that applies to a namespace for a signer's image. None takes precedence over another
// delivery, and sources have the order of sources. Exceptions with another image do not count.
func (t Table) For(namespace, image string) (Entry, bool) {
	var found []Entry
	for _, source := range sources() {
		if e, ok := t.Of(namespace, source); ok && e.Image == image {
			found = append(found, Entry{namespace, source, e})
		}
	}
	for _, e := range found {
		if e.Delivery == None {
			return e, true
		}
	}
	if len(found) == 0 {
		return Entry{}, false
	}
	return found[0], true
}

// Entries returns all exceptions, with any image, sorted by namespace and source.
func (t Table) Entries() []Entry {
	entries := make([]Entry, 0, len(t.exceptions))
	for i, e := range t.exceptions {
		entries = append(entries, Entry{i.namespace, i.source, e})
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Source, b.Source),
			cmp.Compare(a.TaskRun, b.TaskRun))
	})
	return entries
}

// Nodes returns the nodes on which pods did not start.
func (t Table) Nodes() []string {
	var nodes []string
	for i, e := range t.exceptions {
		if (i.source == Mount || i.source == Once) && !slices.Contains(nodes, e.Node) {
			nodes = append(nodes, e.Node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// Refused returns the namespaces with a requested trial.
func (t Table) Refused() []string { return slices.Sorted(maps.Keys(t.refused)) }

// AskedFor reports whether a trial in a namespace is requested.
func (t Table) AskedFor(namespace string) bool {
	_, ok := t.refused[namespace]
	return ok
}
