// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	reviewedRun = `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"namespace":"ci","name":"build","uid":"o1"}}`
	podHead     = `{"kind":"Pod","apiVersion":"v1","metadata":{"generateName":"build-","namespace":"ci"}}`
)

func statusUpdate() *admissionv1.AdmissionRequest {
	request := &admissionv1.AdmissionRequest{
		UID: "u1", Operation: admissionv1.Update, Namespace: "ci", Name: "build", SubResource: "status",
		Kind:     metav1.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "TaskRun"},
		Resource: metav1.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"},
	}
	request.Object.Raw, request.OldObject.Raw = []byte(reviewedRun), []byte(reviewedRun)
	return request
}

func podCreate() *admissionv1.AdmissionRequest {
	request := &admissionv1.AdmissionRequest{
		UID: "u1", Operation: admissionv1.Create, Namespace: "ci",
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
	}
	request.Object.Raw, request.OldObject.Raw = []byte(podHead), []byte("null")
	return request
}

func podRule() Rule {
	return NewRule("", "v1", admissionv1.Create, map[string]string{"pods": "Pod"}, "")
}

// TestRuleTakes has requests as API servers send them.
func TestRuleTakes(t *testing.T) {
	for name, change := range map[string]func(r *admissionv1.AdmissionRequest){
		"as it is": func(*admissionv1.AdmissionRequest) {},
		"without a namespace in what was sent": func(r *admissionv1.AdmissionRequest) {
			r.Object.Raw = []byte(`{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"build"}}`)
		},
		"by another version": func(r *admissionv1.AdmissionRequest) {
			r.RequestResource = &metav1.GroupVersionResource{Group: "tekton.dev", Version: "v1beta1", Resource: "taskruns"}
		},
	} {
		request := statusUpdate()
		change(request)
		if err := statusRule().check(request); err != nil {
			t.Errorf("status %s: %v", name, err)
		}
	}
	for name, change := range map[string]func(r *admissionv1.AdmissionRequest){
		"with a name to be made": func(*admissionv1.AdmissionRequest) {},
		"with a name": func(r *admissionv1.AdmissionRequest) {
			r.Name, r.Object.Raw = "build-pod", []byte(`{"metadata":{"name":"build-pod"}}`)
		},
		"with a name in the object": func(r *admissionv1.AdmissionRequest) {
			r.Object.Raw = []byte(
				`{"metadata":{"name":"build-pod"}}`)
		},
		"without an old object": func(r *admissionv1.AdmissionRequest) { r.OldObject.Raw = nil },
	} {
		request := podCreate()
		change(request)
		if err := podRule().check(request); err != nil {
			t.Errorf("pod %s: %v", name, err)
		}
	}
}

// TestRuleRefuses has reviews that no API server sends: by anybody who reaches the port.
func TestRuleRefuses(t *testing.T) {
	object := func(old, new string) func(*admissionv1.AdmissionRequest) {
		return func(r *admissionv1.AdmissionRequest) {
			r.Object.Raw = []byte(strings.Replace(reviewedRun, old, new, 1))
		}
	}
	oldObject := func(old, new string) func(*admissionv1.AdmissionRequest) {
		return func(r *admissionv1.AdmissionRequest) {
			r.OldObject.Raw = []byte(strings.Replace(reviewedRun, old, new, 1))
		}
	}
	for name, c := range map[string]struct {
		change func(*admissionv1.AdmissionRequest)
		text   string
	}{
		"no UID": {func(r *admissionv1.AdmissionRequest) { r.UID = "" }, "no UID"},
		"another operation": {func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Create },
			"operation: expected UPDATE, got CREATE"},
		"another resource":  {func(r *admissionv1.AdmissionRequest) { r.Resource.Resource = "pods" }, "resource"},
		"another group":     {func(r *admissionv1.AdmissionRequest) { r.Resource.Group = "" }, "resource"},
		"another version":   {func(r *admissionv1.AdmissionRequest) { r.Resource.Version = "v1beta1" }, "resource"},
		"the object itself": {func(r *admissionv1.AdmissionRequest) { r.SubResource = "" }, "resource"},
		"another kind": {func(r *admissionv1.AdmissionRequest) { r.Kind.Kind = "Pod" },
			"kind: expected tekton.dev/v1, Kind=TaskRun"},
		"no namespace": {func(r *admissionv1.AdmissionRequest) { r.Namespace = "" }, "no namespace"},
		"no name":      {func(r *admissionv1.AdmissionRequest) { r.Name = "" }, "no name"},
		"no object": {func(r *admissionv1.AdmissionRequest) { r.Object.Raw = nil },
			"object: expected an object"},
		"no old object": {func(r *admissionv1.AdmissionRequest) { r.OldObject.Raw = []byte("null") },
			"old object: expected an object"},
		"an object that is a word": {func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte(`"x"`) },
			"expected an object"},
		"object elsewhere":        {object(`"ci"`, `"prod"`), `object: namespace: expected ci, got prod`},
		"another object":          {object(`"build"`, `"x\u001b[2K"`), `object: name: expected build, got x\x1b[2K`},
		"object of another kind":  {object(`"TaskRun"`, `"PipelineRun"`), "object: kind"},
		"object of another UID":   {object(`"o1"`, `"o2"`), "object: UID: expected o1, got o2"},
		"old object elsewhere":    {oldObject(`"ci"`, `"prod"`), "old object: namespace"},
		"old object of nowhere":   {oldObject(`"namespace":"ci",`, ""), "old object: namespace"},
		"another old object":      {oldObject(`"build"`, `"other"`), "old object: name"},
		"old object without UID":  {oldObject(`"o1"`, `""`), "old object: it has no UID"},
		"old object, other kind":  {oldObject(`"TaskRun"`, `"Pod"`), "old object: kind"},
		"old object, other group": {oldObject(`tekton.dev/v1`, `v1`), "old object: apiVersion"},
	} {
		request := statusUpdate()
		c.change(request)
		if err := statusRule().check(request); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.text)
		}
	}
	request := podCreate()
	request.OldObject.Raw = []byte(podHead)
	if err := podRule().check(request); err == nil {
		t.Error("a pod that is created has an old object")
	}
	if err := (Rule{}).check(statusUpdate()); err == nil {
		t.Error("a webhook without a rule takes a review")
	}
}

// recordingPods notes what is read.
type recordingPods struct {
	owner string
	read  []string
}

func (p *recordingPods) Get(_ context.Context, namespace, name string, _ bool) (*corev1.Pod, error) {
	p.read = append(p.read, namespace+"/"+name)
	if p.owner == "" {
		return nil, errors.New("no answer")
	}
	yes := true
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: "secret", Annotations: map[string]string{"a": "secret"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: p.owner, UID: "secret",
			Controller: &yes}},
	}}, nil
}

func (p *recordingPods) Log(_ context.Context, namespace, name, container string, _ int64) ([]byte, error) {
	p.read = append(p.read, namespace+"/"+name+"/"+container)
	return []byte("log"), nil
}

// TestOwnLogs reads the log of the TaskRun's own pod, and of no other.
func TestOwnLogs(t *testing.T) {
	for owner, want := range map[string]string{"build": "log", "build-all": "", "": ""} {
		pods := &recordingPods{owner: owner}
		ctx := withStored(t.Context(), identity{"ci", "build", "secret"})
		text, err := OwnPods{pods}.Log(ctx, "ci", "build-pod", "sidecar", 1)
		if string(text) != want || (err == nil) != (want != "") {
			t.Errorf("owner %q: got %q, %v, read %v", owner, text, err, pods.read)
		}
	}
}

// TestOwnPods has reviews that name pods of others: none is read, or told about.
func TestOwnPods(t *testing.T) {
	long := strings.Repeat("long-name-", 6)
	for name, c := range map[string]struct {
		subject, namespace, pod, owner string
		read, told, fails              bool
	}{
		"its own":                 {"build", "ci", "build-pod", "build", true, true, false},
		"its own retry":           {"build", "ci", "build-pod-retry2", "build", true, true, false},
		"a long name":             {long, "ci", long[:27] + "0123-pod", long, true, true, false},
		"of another TaskRun":      {"build", "ci", "build-pod", "build-all", true, false, false},
		"another name":            {"build", "ci", "vault-0", "build", false, false, false},
		"another namespace":       {"build", "prod", "build-pod", "build", false, false, true},
		"no namespace":            {"build", "", "build-pod", "build", false, false, true},
		"no answer":               {"build", "ci", "build-pod", "", true, false, true},
		"a review without a name": {"", "ci", "build-pod", "build", false, false, true},
	} {
		pods := &recordingPods{owner: c.owner}
		ctx := withStored(t.Context(), identity{"ci", c.subject, "secret"})
		got, err := OwnPods{pods}.Get(ctx, c.namespace, c.pod, false)
		if (err != nil) != c.fails || (len(pods.read) > 0) != c.read {
			t.Errorf("%s: error %v, read %v", name, err, pods.read)
		}
		if told := got != nil && (got.UID != "" || got.OwnerReferences != nil || got.Annotations != nil); told != c.told {
			t.Errorf("%s: told %v, want %v: %+v", name, told, c.told, got)
		}
	}
	for _, uid := range []string{"", "guessed"} {
		ctx := withStored(t.Context(), identity{"ci", "build", uid})
		got, err := OwnPods{&recordingPods{owner: "build"}}.Get(ctx, "ci", "build-pod", true)
		if err != nil || got.UID != "" || got.OwnerReferences != nil {
			t.Errorf("a review with the UID %q: got %+v, %v", uid, got, err)
		}
	}
	if _, err := (OwnPods{&recordingPods{owner: "build"}}).Get(t.Context(), "ci", "build-pod", false); err == nil {
		t.Error("a pod is read without a review")
	}
}

// TestOwnPodsOfAWrite judges a write with the pod of its TaskRun, as the webhook does.
func TestOwnPodsOfAWrite(t *testing.T) {
	for owner, own := range map[string]bool{"build": true, "other": false} {
		yes := true
		pod := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "build-pod", UID: podUID,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: owner, UID: runUID,
				Controller: &yes}}}}
		verifier := &fakeVerifier{result: verified()}
		handler := newStatusHandler(verifier)
		handler.Pods = OwnPods{fakePods{pod: pod}}
		handler.Admit(t.Context(), statusWrite(t, run("Unknown", nil), run("True", nil)))
		if got := verifier.facts.Pod; got == nil || (got.ControllerUID == runUID) != own {
			t.Errorf("a pod of %s: %+v", owner, got)
		}
	}
}
