// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

const podJSON = `{"metadata":{"name":"build-pod","later":"field"},"spec":{"containers":[{"name":"step-make","later":1}]}}`

func newInjectHandler(inject Injector) *InjectHandler {
	return &InjectHandler{
		Scope:    fakeScope{backend: signing.BackendOIDCSAToken},
		Delivery: func(settings.Delivery) settings.Delivery { return settings.DeliveryInit },
		Inject:   inject,
		Log:      quiet(),
	}
}

// wrap is an injector that sets the command of the first container.
func wrap(pod *corev1.Pod, _ Injection) (*corev1.Pod, string, error) {
	injected := pod.DeepCopy()
	injected.Spec.Containers[0].Command = []string{"/signer"}
	return injected, "", nil
}

func podCreation(object string) *admissionv1.AdmissionRequest {
	return &admissionv1.AdmissionRequest{Namespace: "ci", Object: runtime.RawExtension{Raw: []byte(object)}}
}

func TestPodIsPatched(t *testing.T) {
	var got Injection
	var namespace string
	handler := newInjectHandler(func(pod *corev1.Pod, injection Injection) (*corev1.Pod, string, error) {
		got, namespace = injection, pod.Namespace
		return wrap(pod, injection)
	})
	request := podCreation(podJSON)
	after := stored(t, handler.Admit(t.Context(), request), request.Object)
	var want fields
	if err := json.Unmarshal([]byte(podJSON), &want); err != nil {
		t.Fatal(err)
	}
	want["spec"].(fields)["containers"].([]any)[0].(fields)["command"] = []any{"/signer"}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
	wantStep := settings.Default().Step()
	wantStep.AudiencePrefix = "lab-prefix"
	if diff := cmp.Diff(Injection{Delivery: settings.DeliveryInit, Step: wantStep}, got); diff != "" {
		t.Error(diff)
	}
	if namespace != "ci" {
		t.Errorf("injected for namespace %q", namespace)
	}
}

func TestPodsLeftAlone(t *testing.T) {
	none := func(pod *corev1.Pod, _ Injection) (*corev1.Pod, string, error) { return pod, "", nil }
	skip := func(pod *corev1.Pod, _ Injection) (*corev1.Pod, string, error) { return pod, "not \x1b[2Kours", nil }
	fail := func(*corev1.Pod, Injection) (*corev1.Pod, string, error) { return nil, "", errors.New("no image") }
	broken := func(*corev1.Pod, Injection) (*corev1.Pod, string, error) { panic("out of order") }
	outOfScope := podCreation(podJSON)
	outOfScope.Namespace = "other"
	on := fakeScope{backend: signing.BackendOIDCSAToken}
	tests := map[string]struct {
		scope   fakeScope
		inject  Injector
		request *admissionv1.AdmissionRequest
		warning string
	}{
		"nothing to do": {on, none, podCreation(podJSON), ""},
		"out of scope":  {on, wrap, outOfScope, ""},
		"backend none":  {fakeScope{backend: signing.BackendNone}, wrap, podCreation(podJSON), ""},
		"starting":      {fakeScope{starting: true}, wrap, podCreation(podJSON), "the add-on is starting"},
		"skipped":       {on, skip, podCreation(podJSON), `this pod will not sign: not \x1b[2Kours`},
		"error":         {on, fail, podCreation(podJSON), "this pod will not sign: no image"},
		"panic":         {on, broken, podCreation(podJSON), "this pod will not sign: internal error"},
		"garbage":       {on, wrap, podCreation(`{"spec":7}`), "this pod will not sign: reading the pod"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			handler := newInjectHandler(tt.inject)
			handler.Scope = tt.scope
			response := handler.Admit(t.Context(), tt.request)
			if !response.Allowed || response.Patch != nil {
				t.Errorf("allowed %v, patch %s", response.Allowed, response.Patch)
			}
			if got := strings.Join(response.Warnings, ""); (got == "") != (tt.warning == "") || !strings.Contains(got, tt.warning) {
				t.Errorf("warnings %q, want %q", response.Warnings, tt.warning)
			}
		})
	}
}
