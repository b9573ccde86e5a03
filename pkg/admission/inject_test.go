// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

const podJSON = `{"metadata":{"name":"build-pod","later":"field"},"spec":{"containers":[{"name":"step-make",` +
	`"later":1}]}}`

func newInjectHandler(inject Injector) *InjectHandler {
	return &InjectHandler{
		Scope:       fakeScope{backend: signing.BackendOIDCSAToken},
		Delivery:    func(settings.Delivery) settings.Delivery { return settings.DeliveryInit },
		Inject:      inject,
		Granted:     func(string) bool { return true },
		Exception:   func(string, types.UID) (delivery.Entry, bool) { return delivery.Entry{}, false },
		Keeper:      keeperUser,
		OnLeftAlone: func(LeftAlone) {},
		Log:         quiet(),
	}
}

const keeperUser = "system:serviceaccount:tekton-sign:keeper"

// TestExceptions: how the signer reaches a pod where it does not get there as the settings ask, and what becomes of
// the pod where it does not at all.
func TestExceptions(t *testing.T) {
	entry := func(source delivery.Source, by settings.Delivery) *delivery.Entry {
		return &delivery.Entry{Namespace: "ci", Source: source, Exception: delivery.Exception{Delivery: by,
			Reason: "policy \x1b says no"}}
	}
	refused, cannotStart := `pods of this namespace with the signer are refused: policy \x1b says no`,
		`pods of this namespace do not start with the signer: policy \x1b says no`
	for name, tc := range map[string]struct {
		mode    settings.Enforcement
		entry   *delivery.Entry
		nodes   settings.Delivery // what they can
		by      settings.Delivery // wanted; empty: left alone
		reason  string
		left    LeftAlone
		refused bool
	}{
		"none": {settings.Audit, nil, settings.DeliveryImage, settings.DeliveryImage, "", "", false},
		"by init": {settings.Audit, entry(delivery.Trial, settings.DeliveryInit), settings.DeliveryImage,
			settings.DeliveryInit, "", "", false},
		"by init, enforced": {settings.Enforce, entry(delivery.Trial, settings.DeliveryInit), settings.DeliveryImage,
			settings.DeliveryInit, "", "", false},
		"by image": {settings.Audit, entry(delivery.Start, settings.DeliveryImage), settings.DeliveryImage,
			settings.DeliveryImage, "", "", false},
		"by image, which none can": {settings.Audit, entry(delivery.Trial, settings.DeliveryImage), settings.DeliveryInit,
			"", refused, LeftRefused, false},
		"refused": {settings.Audit, entry(delivery.Trial, delivery.None), settings.DeliveryImage, "",
			refused, LeftRefused, false},
		"refused, enforced": {settings.Enforce, entry(delivery.Trial, delivery.None), settings.DeliveryImage, "",
			refused, LeftRefused, true},
		"does not start": {settings.Audit, entry(delivery.Start, delivery.None), settings.DeliveryImage, "",
			cannotStart, LeftStart, false},
		"not mounted": {settings.Audit, entry(delivery.Mount, delivery.None), settings.DeliveryImage, "",
			cannotStart, LeftStart, false},
		"not mounted for this TaskRun": {settings.Audit, entry(delivery.Once, delivery.None), settings.DeliveryImage, "",
			`the pod of this TaskRun did not start with the signer: policy \x1b says no`, LeftStart, false},
		"not mounted for this TaskRun, enforced": {settings.Enforce, entry(delivery.Once, delivery.None),
			settings.DeliveryImage, settings.DeliveryImage, "", "", false},
		"not mounted, enforced": {settings.Enforce, entry(delivery.Mount, delivery.None), settings.DeliveryImage,
			settings.DeliveryImage, "", "", false},
		"refused since": {settings.Audit, entry(delivery.Refusal, delivery.None), settings.DeliveryImage, "",
			refused, LeftRefused, false},
		"refused since, enforced": {settings.Enforce, entry(delivery.Refusal, delivery.None), settings.DeliveryImage,
			settings.DeliveryImage, "", "", false},
		"does not start, enforced": {settings.Enforce, entry(delivery.Start, delivery.None), settings.DeliveryImage,
			settings.DeliveryImage, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var by settings.Delivery
			var left LeftAlone
			handler := newInjectHandler(func(pod *corev1.Pod, injection Injection) (*corev1.Pod, string, error) {
				by = injection.Delivery
				return wrap(pod, injection)
			})
			handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, mode: tc.mode}
			handler.Delivery = func(settings.Delivery) settings.Delivery { return tc.nodes }
			handler.Exception = func(string, types.UID) (delivery.Entry, bool) {
				if tc.entry == nil {
					return delivery.Entry{}, false
				}
				return *tc.entry, true
			}
			handler.OnLeftAlone = func(kind LeftAlone) { left = kind }
			handler.Tekton = "tekton"
			request := podCreation(podJSON)
			request.UserInfo.Username = handler.Tekton
			response := handler.Admit(t.Context(), request)
			if by != tc.by || left != tc.left || response.Allowed == tc.refused {
				t.Fatalf("delivery %q, left alone %q, allowed %t", by, left, response.Allowed)
			}
			switch {
			case tc.refused:
				if !strings.HasSuffix(response.Result.Message, tc.reason) {
					t.Errorf("refused with %q", response.Result.Message)
				}
			case tc.reason != "":
				after := stored(t, response, request.Object)
				annotations, _ := after["metadata"].(fields)["annotations"].(fields)
				if annotations[signing.UnsignedAnnotation] != tc.reason ||
					after["spec"].(fields)["containers"].([]any)[0].(fields)["command"] != nil {
					t.Errorf("stored %v", after)
				}
			}
		})
	}
}

// TestTrialPasses: the keeper's dry run is of the very pod that it sends. Its other pods, and the dry runs of
// others, are pods like any.
func TestTrialPasses(t *testing.T) {
	yes := true
	for name, tc := range map[string]struct {
		user   string
		dryRun *bool
		want   bool
	}{
		"a trial":              {keeperUser, &yes, true},
		"for good":             {keeperUser, nil, false},
		"a dry run of another": {"tekton", &yes, false},
	} {
		request := podCreation(podJSON)
		request.UserInfo.Username, request.DryRun = tc.user, tc.dryRun
		response := newInjectHandler(wrap).Admit(t.Context(), request)
		if !response.Allowed || (response.Patch == nil) != tc.want {
			t.Errorf("%s: allowed %t, patch %s", name, response.Allowed, response.Patch)
		}
	}
}

// wrap is an injector that sets the command of the first container.
func wrap(pod *corev1.Pod, _ Injection) (*corev1.Pod, string, error) {
	injected := pod.DeepCopy()
	injected.Spec.Containers[0].Command = []string{step.ImagePath}
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
	want["spec"].(fields)["containers"].([]any)[0].(fields)["command"] = []any{step.ImagePath}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
	on := settings.Default()
	on.Backend = signing.BackendOIDCSAToken
	wantStep := on.Step()
	wantStep.Tokens.Audience = "lab-prefix"
	if diff := cmp.Diff(Injection{Delivery: settings.DeliveryInit, Step: wantStep, Patience: 5 * time.Second},
		got); diff != "" {
		t.Error(diff)
	}
	if namespace != "ci" {
		t.Errorf("injected for namespace %q", namespace)
	}
}

func TestPodsLeftAlone(t *testing.T) {
	none := func(pod *corev1.Pod, _ Injection) (*corev1.Pod, string, error) { return pod, "", nil }
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
			if got := strings.Join(response.Warnings, ""); (got == "") != (tt.warning == "") ||
				!strings.Contains(got, tt.warning) {
				t.Errorf("warnings %q, want %q", response.Warnings, tt.warning)
			}
		})
	}
}

// TestReasonIsLogged has the reason in the log as well: who makes the pod may not show warnings.
func TestReasonIsLogged(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	handler := newInjectHandler(func(pod *corev1.Pod, _ Injection) (*corev1.Pod, string, error) {
		return pod, "another webhook changed it before", nil
	})
	handler.Log = zap.New(core).Sugar()
	handler.Admit(t.Context(), podCreation(podJSON))
	want := map[string]any{"namespace": "ci", "pod": "build-pod", "reason": "another webhook changed it before"}
	all := logs.All()
	if len(all) != 1 || all[0].Level != zapcore.InfoLevel || all[0].Message != "this pod will not sign" {
		t.Fatalf("logged %+v", all)
	}
	if diff := cmp.Diff(want, all[0].ContextMap()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// TestPatience lets a step wait for its token for long only where it must have one, and longest where nobody may
// ask for it yet.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		mode    settings.Enforcement
		granted bool
		want    time.Duration
	}{
		{settings.Audit, true, 5 * time.Second},
		{settings.Audit, false, 5 * time.Second},
		{settings.Enforce, true, 30 * time.Second},
		{settings.Enforce, false, time.Minute},
	} {
		var got time.Duration
		handler := newInjectHandler(func(pod *corev1.Pod, i Injection) (*corev1.Pod, string, error) {
			got = i.Patience
			return wrap(pod, i)
		})
		handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, mode: c.mode}
		handler.Granted = func(namespace string) bool { return c.granted && namespace == "ci" }
		handler.Admit(t.Context(), podCreation(podJSON))
		if got != c.want {
			t.Errorf("%s, granted %v: patience %v, want %v", c.mode, c.granted, got, c.want)
		}
	}
}

// Where results are enforced, a pod that would not sign for a fault of the add-on's is not made.
func TestTroubleRefusesAPodThatIsEnforced(t *testing.T) {
	for name, inject := range map[string]Injector{
		"error": func(*corev1.Pod, Injection) (*corev1.Pod, string, error) {
			return nil, "", errors.New("no \x1b[2Kimage")
		},
		"panic": func(*corev1.Pod, Injection) (*corev1.Pod, string, error) { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			handler := newInjectHandler(inject)
			handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, mode: settings.Enforce}
			response := handler.Admit(t.Context(), podCreation(podJSON))
			if response.Allowed || response.Result.Code != 500 || strings.Contains(response.Result.Message, "\x1b") {
				t.Errorf("got %+v", response)
			}
		})
	}
}

// TestPodThatCannotSign has the reason in the answer and in the pod. Where results are enforced, Tekton's
// controller gets a refusal, which fails the TaskRun before it ran; pods of others are theirs.
func TestPodThatCannotSign(t *testing.T) {
	const reason = `not \x1b[2Kours`
	skip := func(pod *corev1.Pod, _ Injection) (*corev1.Pod, string, error) { return pod, "not \x1b[2Kours", nil }
	unwrap := func(pod *corev1.Pod, i Injection) (*corev1.Pod, string, error) {
		unwrapped, _, err := wrap(pod, i)
		return unwrapped, "not \x1b[2Kours", err
	}
	for name, c := range map[string]struct {
		mode    settings.Enforcement
		by      string
		inject  Injector
		refused bool
		command string
	}{
		"audit":                 {settings.Audit, tekton, skip, false, ""},
		"audit, wrapped before": {settings.Audit, tekton, unwrap, false, step.ImagePath},
		"enforce":               {settings.Enforce, tekton, skip, true, ""},
		"enforce, of others":    {settings.Enforce, "system:serviceaccount:ci:other-controller", skip, false, ""},
		"enforce, nobody":       {settings.Enforce, "", skip, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			handler := newInjectHandler(c.inject)
			handler.Scope, handler.Tekton = fakeScope{backend: signing.BackendOIDCSAToken, mode: c.mode}, tekton
			request := podCreation(podJSON)
			request.UserInfo.Username = c.by
			response := handler.Admit(t.Context(), request)
			if c.refused {
				if response.Allowed || response.Result.Code != http.StatusForbidden || !strings.Contains(response.Result.Message,
					reason) {
					t.Errorf("got %+v, want a refusal with the reason", response)
				}
				return
			}
			after := stored(t, response, request.Object)
			if got := strings.Join(response.Warnings, ""); !strings.Contains(got, "this pod will not sign: "+reason) {
				t.Errorf("warnings %q", response.Warnings)
			}
			if got := outcomeOf(response); got != OutcomeWarned {
				t.Errorf("counted as %s", got)
			}
			metadata, _ := after["metadata"].(fields)
			if diff := cmp.Diff(fields{signing.UnsignedAnnotation: reason}, metadata["annotations"]); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			command, _ := after["spec"].(fields)["containers"].([]any)[0].(fields)["command"].([]any)
			if got := len(command) > 0; got != (c.command != "") {
				t.Errorf("command %v, want %q", command, c.command)
			}
		})
	}
}

// TestReasonGoes takes the reason out of a pod that signs after all: another webhook may have changed it meanwhile.
func TestReasonGoes(t *testing.T) {
	request := podCreation(strings.Replace(podJSON, `{"name"`,
		`{"annotations":{"tekton-sign.dev/unsigned":"x","a":"b"},"name"`, 1))
	after := stored(t, newInjectHandler(wrap).Admit(t.Context(), request), request.Object)
	if diff := cmp.Diff(fields{"a": "b"}, after["metadata"].(fields)["annotations"]); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

// TestRequired has the signer know whether results are of use without evidence.
func TestRequired(t *testing.T) {
	for _, mode := range []settings.Enforcement{settings.Audit, settings.Enforce} {
		var got bool
		handler := newInjectHandler(func(pod *corev1.Pod, i Injection) (*corev1.Pod, string, error) {
			got = i.Required
			return wrap(pod, i)
		})
		handler.Scope = fakeScope{backend: signing.BackendOIDCSAToken, mode: mode}
		handler.Admit(t.Context(), podCreation(podJSON))
		if got != (mode == settings.Enforce) {
			t.Errorf("%s: evidence required %v", mode, got)
		}
	}
}

// The API server knows which of its webhooks' entries it called, and what to do without an answer.
func TestNoAnswerBeforeTheSettingsAreKnown(t *testing.T) {
	starting := fakeScope{starting: true, backend: signing.BackendOIDCSAToken}
	inject, status := newInjectHandler(wrap), newStatusHandler(&fakeVerifier{result: verified()})
	inject.Scope, status.Scope = starting, starting
	for name, call := range map[string]func(){
		"inject": func() { inject.Admit(t.Context(), podCreation(podJSON)) },
		"status": func() { status.Admit(t.Context(), statusWrite(t, run("Unknown", nil), run("True", nil))) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("got %v, want the call to be aborted", err)
				}
			}()
			call()
		})
	}
}
