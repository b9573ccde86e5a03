// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
)

// Rule defines the requests of a webhook, like the rules of its configuration.
type Rule struct {
	of           metav1.GroupVersion
	kinds        map[string]string // of each resource
	subResources []string          // "" is the object itself
	operation    admissionv1.Operation
	other        *Rule // for what this one does not cover
}

// NewRule returns a rule for resources of one group and version.
func NewRule(group, version string, operation admissionv1.Operation, kinds map[string]string,
	subResources ...string) Rule {
	return Rule{of: metav1.GroupVersion{Group: group, Version: version}, kinds: kinds, subResources: subResources,
		operation: operation}
}

// Or returns a rule for what either covers.
func (r Rule) Or(other Rule) Rule {
	r.other = &other
	return r
}

// String returns a line for each resource, in order.
func (r Rule) String() string {
	var lines []string
	for resource := range r.kinds {
		for _, sub := range r.subResources {
			name := strings.TrimSuffix(resource+"/"+sub, "/")
			lines = append(lines, fmt.Sprintf("%s %s %s", r.operation, r.of, name))
		}
	}
	if r.other != nil {
		lines = append(lines, r.other.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// objectHead is what names an object.
type objectHead struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Namespace string    `json:"namespace"`
		Name      string    `json:"name"`
		UID       types.UID `json:"uid"`
	} `json:"metadata"`
}

// check returns an error for a request that no API server sends under this rule. Anyone who reaches the port can
// send one. After it, the request is about one object, the one that it names.
func (r Rule) check(request *admissionv1.AdmissionRequest) error {
	if r.other != nil && !r.covers(request) {
		return r.other.check(request)
	}
	kind := metav1.GroupVersionKind{Group: r.of.Group, Version: r.of.Version, Kind: r.kinds[request.Resource.Resource]}
	switch {
	case request.UID == "":
		return errors.New("the request has no UID")
	case request.Operation != r.operation:
		return unexpected("operation", r.operation, request.Operation)
	case !r.covers(request):
		return unexpected("resource of "+r.of.String(), r.subResources, request.Resource.String()+"/"+request.SubResource)
	case request.Kind != kind:
		return unexpected("kind", kind, request.Kind)
	case request.Namespace == "":
		return errors.New("the request has no namespace")
	case request.Name == "" && r.operation != admissionv1.Create: // the API server can generate the name later
		return errors.New("the request has no name")
	}
	return checkObjects(request)
}

func (r Rule) covers(request *admissionv1.AdmissionRequest) bool {
	resource := request.Resource
	_, known := r.kinds[resource.Resource]
	return known && resource.Group == r.of.Group && resource.Version == r.of.Version &&
		slices.Contains(r.subResources, request.SubResource)
}

// checkObjects returns an error unless both objects are that of the request.
func checkObjects(request *admissionv1.AdmissionRequest) error {
	submitted, err := readHead(request.Object.Raw)
	if err != nil {
		return fmt.Errorf("object: %w", err)
	}
	if err := submitted.check(request, false); err != nil {
		return fmt.Errorf("object: %w", err)
	}
	if request.Operation == admissionv1.Create {
		if !isNull(request.OldObject.Raw) {
			return errors.New("old object: expected none of a CREATE")
		}
		return nil
	}
	old, err := readHead(request.OldObject.Raw)
	if err != nil {
		return fmt.Errorf("old object: %w", err)
	}
	if err := old.check(request, true); err != nil {
		return fmt.Errorf("old object: %w", err)
	}
	if uid := submitted.Metadata.UID; uid != "" && uid != old.Metadata.UID {
		return unexpected("object: UID", old.Metadata.UID, uid)
	}
	return nil
}

func readHead(raw []byte) (objectHead, error) {
	var head objectHead
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &head); err != nil || isNull(raw) {
		return head, errors.New("expected an object")
	}
	return head, nil
}

// check returns an error if the object is not that of the request. An object that is not stored yet can lack fields.
func (o objectHead) check(request *admissionv1.AdmissionRequest, stored bool) error {
	version := metav1.GroupVersion{Group: request.Kind.Group, Version: request.Kind.Version}.String()
	for _, f := range []struct{ name, want, got string }{
		{"apiVersion", version, o.APIVersion},
		{"kind", request.Kind.Kind, o.Kind},
		{"namespace", request.Namespace, o.Metadata.Namespace},
		{"name", request.Name, o.Metadata.Name},
	} {
		if f.got != f.want && (stored || f.got != "" && f.want != "") {
			return unexpected(f.name, f.want, f.got)
		}
	}
	if stored && o.Metadata.UID == "" {
		return errors.New("it has no UID")
	}
	return nil
}

// unexpected is an error about hostile text.
func unexpected[W, G any](what string, want W, got G) error {
	return fmt.Errorf("%s: expected %v, got %s", what, want, display.Short(fmt.Sprint(got), maxWarning))
}

func parseReview(body []byte) (review admissionv1.AdmissionReview, err error) {
	if err := json.Unmarshal(body, &review); err != nil {
		return review, errors.New("body: expected an AdmissionReview, got something else")
	}
	want := metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}
	if review.TypeMeta != want || review.Request == nil {
		return review, errors.New("body: expected an AdmissionReview of admission.k8s.io/v1 with a request")
	}
	return review, nil
}
