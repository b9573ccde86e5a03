// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
)

// maxWarning is how long a warning may be so that the API server passes it on (RFC 7234, a few hundred characters).
const maxWarning = 250

// allow admits a request unchanged.
func allow() *admissionv1.AdmissionResponse { return &admissionv1.AdmissionResponse{Allowed: true} }

// allowWithWarning admits a request unchanged, and warns its sender why nothing was done.
func allowWithWarning(format string, args ...any) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Allowed: true, Warnings: []string{warning(format, args...)}}
}

func warning(format string, args ...any) string {
	return display.Cut("tekton-sign: "+fmt.Sprintf(format, args...), maxWarning)
}

// refuse answers that the request must not be stored.
func refuse(r *refusal) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: r.code, Reason: r.reason, Message: "tekton-sign: " + r.message,
	}}
}

// operation is one operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// escapePointer writes a name as one token of a JSON pointer (RFC 6901, section 3).
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// allowPatched admits a request with a JSON patch of the changed parts only, so that fields that this version does
// not know stay as they are.
func allowPatched(patch any) (*admissionv1.AdmissionResponse, error) {
	encoded, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encoding the patch: %w", err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	return &admissionv1.AdmissionResponse{Allowed: true, Patch: encoded, PatchType: &kind}, nil
}
