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

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// ConfigMapName is the name of the ConfigMap in the add-on's namespace.
const ConfigMapName = "delivery"

// None is the delivery of a namespace to which the signer does not get at all.
const None settings.Delivery = "none"

// Source is who found an exception. It is the last part of a key.
type Source string

// The sources.
const (
	Trial Source = "trial" // the keeper: the API server refused a dry run of a pod with the signer
	Start Source = "start" // the leading controller: a pod could not start because of the signer
	// Refusal is the leading controller, too: a policy refused the pod of a TaskRun, and a dry run did not show why.
	Refusal Source = "refusal"
)

// sources lists them all, in the order in which they count.
func sources() []Source { return []Source{Trial, Start, Refusal} }

// keyRefused is the last part of the key by which the leading controller asks for a trial: a pod was refused.
const keyRefused = "refused"

// MaxReason is the longest reason that is kept, in bytes.
const MaxReason = 200

// maxValue is the longest value that is read, in bytes: an exception with a long reason and a long reference
// of an image.
const maxValue = 2048

// Exception says how the signer reaches the pods of one namespace, otherwise than the settings say.
type Exception struct {
	Delivery settings.Delivery `json:"delivery"` // image, init or None
	Reason   string            `json:"reason"`   // in words for people, who see it escaped; at most MaxReason bytes
	Image    string            `json:"image"`    // the signer's, with which this was found: another one is tried anew
	Since    time.Time         `json:"since"`
}

// Same reports whether two exceptions differ in nothing but their time.
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
	case len(e.Reason) > MaxReason:
		return Exception{}, fmt.Errorf("reason: expected at most %d bytes, got %d", MaxReason, len(e.Reason))
	}
	return e, nil
}

// Entry is an exception with what its key says.
type Entry struct {
	Namespace string
	Source    Source
	Exception
}

// Table is what the ConfigMap holds.
type Table struct {
	exceptions map[id]Exception
	refused    map[string]string // namespaces for which a trial is asked for, and the mark that asked
	unreadable []string
}

// id is what a key says.
type id struct {
	namespace string
	source    Source
}

func (i id) key() string { return i.namespace + "." + string(i.source) }

// parseKey takes a key apart. No namespace has a dot in its name.
func parseKey(key string) (namespace, last string, err error) {
	namespace, last, ok := strings.Cut(key, ".")
	known := last == keyRefused || slices.Contains(sources(), Source(last))
	if !ok || !known || len(validation.IsDNS1123Label(namespace)) > 0 {
		return "", "", fmt.Errorf("expected a namespace with .%s, .%s, .%s or .%s", Trial, Start, Refusal, keyRefused)
	}
	return namespace, last, nil
}

// Parse reads the data of the ConfigMap. What cannot be read is left out, and named by Unreadable.
func Parse(data map[string]string) Table {
	t := Table{exceptions: map[id]Exception{}, refused: map[string]string{}}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		namespace, last, err := parseKey(key)
		switch {
		case err != nil:
		case last == keyRefused:
			t.refused[namespace] = data[key]
		default:
			t.exceptions[id{namespace, Source(last)}], err = parseException(data[key])
			if err != nil {
				delete(t.exceptions, id{namespace, Source(last)})
			}
		}
		if err != nil {
			t.unreadable = append(t.unreadable, fmt.Sprintf("key %s: %v", display.Safe(key), err))
		}
	}
	return t
}

// Unreadable says of each key that was left out what is wrong with it.
func (t Table) Unreadable() []string { return t.unreadable }

// Of returns what a source says of a namespace, of whatever image.
func (t Table) Of(namespace string, source Source) (Exception, bool) {
	e, ok := t.exceptions[id{namespace, source}]
	return e, ok
}

// For returns what holds in a namespace for a signer's image: None before another delivery, and a trial before a
// start and a refusal. An exception of another image does not count.
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

// Entries returns all exceptions, of whatever image, in the order of namespaces and sources.
func (t Table) Entries() []Entry {
	entries := make([]Entry, 0, len(t.exceptions))
	for i, e := range t.exceptions {
		entries = append(entries, Entry{i.namespace, i.source, e})
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Source, b.Source))
	})
	return entries
}

// Refused returns the namespaces for which a trial is asked for.
func (t Table) Refused() []string { return slices.Sorted(maps.Keys(t.refused)) }

// AskedFor reports whether a trial of a namespace is asked for.
func (t Table) AskedFor(namespace string) bool {
	_, ok := t.refused[namespace]
	return ok
}
