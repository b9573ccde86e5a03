// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"maps"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	tekton = "system:serviceaccount:openshift-pipelines:the-controller"
	addOn  = "system:serviceaccount:tekton-sign:controller"
)

// asked is a request in the form in which policies evaluate it. old and object are nil where a request has none.
type asked struct {
	user, operation, name, subresource string
	dryRun                             bool
	old, object                        any
	mayChangeSettings                  bool
	namespace, resource                string
	groups                             []string
	namespaceLabels                    map[string]string
}

func (a asked) values(t *testing.T) map[string]any {
	t.Helper()
	request := map[string]any{
		"userInfo": map[string]any{"username": a.user, "groups": a.groups}, "operation": a.operation, "name": a.name,
		"subResource": a.subresource, "namespace": a.namespace, "resource": map[string]any{"resource": a.resource},
	}
	if a.dryRun {
		request["dryRun"] = true
	}
	values := map[string]any{
		"request": request, "oldObject": plain(t, a.old), "object": plain(t, a.object),
		"namespaceObject": map[string]any{"metadata": map[string]any{"labels": a.namespaceLabels}},
	}
	if a.mayChangeSettings {
		values["authorizer"] = "//configmaps/openshift-pipelines/config-signing/update"
	}
	return values
}

// plain returns an object as JSON values.
func plain(t *testing.T, object any) any {
	t.Helper()
	if object == nil {
		return nil
	}
	if m, ok := object.(map[string]any); ok {
		return m
	}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// checkRefusals evaluates policies, one after the other, and compares the message of the first that refuses with
// the wanted one; empty: none refuses.
func checkRefusals(t *testing.T, policies string, cases map[string]struct {
	asked asked
	shown string
}) {
	t.Helper()
	checkRefusalsWith(t, testOptions(), policies, cases)
}

func checkRefusalsWith(t *testing.T, o Options, policies string, cases map[string]struct {
	asked asked
	shown string
}) {
	t.Helper()
	objects := render(t, o)
	for name, c := range cases {
		shown := ""
		for policy := range strings.FieldsSeq(policies) {
			if shown == "" {
				_, shown = refusal(t, find[*admissionv1.ValidatingAdmissionPolicy](t, objects, policy), c.asked.values(t))
			}
		}
		if (shown == "") != (c.shown == "") || !strings.Contains(shown, c.shown) {
			t.Errorf("%s: refused with %q, want %q", name, shown, c.shown)
		}
	}
}

// tektonsPod returns the pod of a TaskRun as Tekton creates it, with changes.
func tektonsPod(change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ci", Name: "build-pod",
			Labels: map[string]string{
				"app.kubernetes.io/managed-by": "tekton-pipelines", "tekton.dev/taskRun": "build", "tekton.dev/taskRunUID": "u",
				"team": "a",
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: "build", UID: "u"}},
		},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "prepare", Image: "entrypoint"}},
			Containers:     []corev1.Container{{Name: "step-a", Image: "a"}},
		},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func TestTaskRunPodsPolicy(t *testing.T) {
	bare := func(name string, change ...func(*corev1.Pod)) *corev1.Pod {
		return tektonsPod(append([]func(*corev1.Pod){func(p *corev1.Pod) {
			p.Name, p.Labels, p.OwnerReferences = name, nil, nil
		}}, change...)...)
	}
	label := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Labels = map[string]string{key: value} }
	}
	relabel := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Labels = maps.Clone(p.Labels)
			p.Labels[key] = value
		}
	}
	unlabel := func(key string) func(*corev1.Pod) { return func(p *corev1.Pod) { delete(p.Labels, key) } }
	disown := func(p *corev1.Pod) { p.OwnerReferences = nil }
	create := func(user string, pod *corev1.Pod) asked { return asked{user: user, operation: "CREATE", object: pod} }
	update := func(user string, old, pod *corev1.Pod) asked {
		return asked{user: user, operation: "UPDATE", old: old, object: pod}
	}
	dry := create("jane", tektonsPod())
	dry.dryRun = true
	const made, reserved = "a TaskRun as owner, and such pods only " + tekton, "names that end in -pod or -pod-retry"
	const gc = "system:serviceaccount:kube-system:generic-garbage-collector"
	checkRefusals(t, TaskRunPods+" "+TaskRunPodMarks, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton makes it":     {create(tekton, tektonsPod()), ""},
		"a dry run of it":     {dry, ""},
		"the whole pod":       {create("jane", tektonsPod()), reserved},
		"the name alone":      {create("jane", bare("build-pod")), "pod build-pod was not created for jane: " + reserved},
		"the name of a retry": {create("jane", bare("build-pod-retry12")), reserved},
		"the label alone": {
			create("jane", bare("x", label("tekton.dev/taskRun", "build"))), "pod x was not created for jane: it has",
		},
		"the UID's label alone": {create("jane", bare("x", label("tekton.dev/taskRunUID", "u"))), made},
		"the owner alone": {
			create("jane", bare("x", func(p *corev1.Pod) { p.OwnerReferences = tektonsPod().OwnerReferences })), made,
		},
		"an older API's owner": {create("jane", bare("x", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "tekton.dev/v1beta1", Kind: "TaskRun"}}
		})), made},
		"by a Job": {
			create("system:serviceaccount:kube-system:job-controller",
				bare("x-abcde", label("tekton.dev/taskRun", "build"))), made,
		},
		"another Tekton": {
			create("system:serviceaccount:tekton-pipelines:tekton-pipelines-controller", tektonsPod()), reserved,
		},
		"an ordinary pod":        {create("jane", bare("web-7c9f-x2b4d", label("app", "web"))), ""},
		"a name with pod inside": {create("jane", bare("build-pod-0")), ""},
		"an affinity assistant": {
			create("system:serviceaccount:kube-system:statefulset-controller",
				bare("affinity-assistant-1-0", label("tekton.dev/pipelineRun", "p"))), "",
		},
		"an owner of another group, which a reader may take for Tekton's": {create("jane", bare("x", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "else.dev/v1", Kind: "TaskRun"}}
		})), made},
		"Tekton changes it": {update(tekton, tektonsPod(), tektonsPod(relabel("tekton.dev/x", "y"), disown)), ""},
		"a label of one's own": {
			update("jane", tektonsPod(), tektonsPod(relabel("team", "b"), relabel("more", "c"))), "",
		},
		"a Tekton label changed": {
			update("jane", tektonsPod(), tektonsPod(relabel("tekton.dev/taskRun", "other"))),
			"pod build-pod was not changed for jane: the labels tekton.dev/*",
		},
		"a Tekton label added": {
			update("jane", tektonsPod(), tektonsPod(relabel("tekton.dev/pipelineRun", "p"))), "the labels tekton.dev/*",
		},
		"a Tekton label removed": {
			update("jane", tektonsPod(), tektonsPod(unlabel("tekton.dev/taskRunUID"))), "the labels tekton.dev/*",
		},
		"hidden from Tekton": {
			update("jane", tektonsPod(), tektonsPod(unlabel("app.kubernetes.io/managed-by"))), "the labels tekton.dev/*",
		},
		"a foreign pod labelled": {
			update("jane", bare("x"), bare("x", label("tekton.dev/taskRun", "build"))), "the labels tekton.dev/*",
		},
		"a foreign pod adopted": {
			update("jane", bare("x"), bare("x", func(p *corev1.Pod) { p.OwnerReferences = tektonsPod().OwnerReferences })),
			"the owners of a TaskRun's pod",
		},
		"disowned": {
			update("jane", tektonsPod(), tektonsPod(disown)), "the owners of a TaskRun's pod are changed only by " + tekton,
		},
		"disowned and unlabelled": {update("jane", tektonsPod(), bare("build-pod")), "the labels tekton.dev/*"},
		"orphaned by the cluster": {update(gc, tektonsPod(), tektonsPod(disown)), ""},
		"labelled by the cluster": {
			update(gc, tektonsPod(), tektonsPod(relabel("tekton.dev/taskRun", "other"))), "the labels tekton.dev/*",
		},
		"another image": {
			update("jane", tektonsPod(), tektonsPod(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" })),
			"the images of a TaskRun's pod",
		},
		"another init image": {
			update("jane", tektonsPod(), tektonsPod(func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "evil" })),
			"the images of a TaskRun's pod",
		},
		"an ordinary pod's image": {
			update("jane", bare("x"), bare("x", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "b" })), "",
		},
		"an ordinary pod labelled": {update("jane", bare("x"), bare("x", label("tekton.dev/pipelineRun", "p"))), ""},
	})
}

// What a verification relies on in a live pod comes from Tekton's controller, with the standard policies, too.
func TestTaskRunPodMarksPolicy(t *testing.T) {
	marked := tektonsPod(func(p *corev1.Pod) { p.Name = "x" })
	bare := tektonsPod(func(p *corev1.Pod) { p.Labels, p.OwnerReferences = nil, nil })
	adopted := tektonsPod(func(p *corev1.Pod) { p.Labels = nil })
	checkRefusals(t, TaskRunPodMarks, map[string]struct {
		asked asked
		shown string
	}{
		"a marked pod": {
			asked{user: "jane", operation: "CREATE", object: marked}, "pod x was not created for jane",
		},
		"by Tekton":       {asked{user: tekton, operation: "CREATE", object: marked}, ""},
		"made in advance": {asked{user: "jane", operation: "CREATE", object: bare}, ""},
		"made in advance and adopted": {
			asked{user: "jane", operation: "UPDATE", old: bare, object: adopted}, "the owners of a TaskRun's pod",
		},
		"made in advance and marked": {
			asked{user: "jane", operation: "UPDATE", old: bare, object: tektonsPod()}, "the labels tekton.dev/*",
		},
	})
}

func TestTaskRunPodAccessPolicy(t *testing.T) {
	connect := func(user, pod, subresource string) asked {
		return asked{
			user: user, operation: "CONNECT", name: pod, subresource: subresource,
			object: map[string]any{"kind": "PodExecOptions", "command": []any{"sh"}},
		}
	}
	debug := func(pod *corev1.Pod) asked {
		return asked{
			user: "jane", operation: "UPDATE", name: pod.Name, subresource: "ephemeralcontainers", old: pod, object: pod,
		}
	}
	renamed := func(p *corev1.Pod) { p.Name = "x" }
	unmarked := func(p *corev1.Pod) { p.Name, p.Labels = "x", nil }
	checkRefusals(t, TaskRunPodAccess, map[string]struct {
		asked asked
		shown string
	}{
		"exec": {
			connect("jane", "build-pod", "exec"), "jane may not use exec on pod build-pod: nobody may get into a TaskRun's pod",
		},
		"attach":                 {connect("jane", "build-pod", "attach"), "jane may not use attach on pod build-pod"},
		"into a retry":           {connect("jane", "build-pod-retry1", "exec"), "exec on pod build-pod-retry1"},
		"an administrator":       {connect("kubernetes-admin", "build-pod", "exec"), "kubernetes-admin may not use exec"},
		"a container":            {debug(tektonsPod()), "jane may not use ephemeralcontainers on pod build-pod"},
		"a container, by labels": {debug(tektonsPod(renamed)), "ephemeralcontainers on pod x"},
		"another pod":            {connect("jane", "web-0", "exec"), ""},
		"another pod's debugger": {debug(tektonsPod(unmarked)), ""},
	})
}

func TestTaskRunStatusPolicy(t *testing.T) {
	write := func(user, managedBy string) asked {
		spec := map[string]any{}
		if managedBy != "" {
			spec["managedBy"] = managedBy
		}
		return asked{
			user: user, operation: "UPDATE", name: "build", subresource: "status",
			old: map[string]any{"spec": spec}, object: map[string]any{},
		}
	}
	checkRefusals(t, TaskRunStatus, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton":          {write(tekton, ""), ""},
		"Tekton, said so": {write(tekton, "tekton.dev/pipeline"), ""},
		"the add-on":      {write(addOn, ""), ""},
		"a user": {
			write("jane", ""), "jane may not write the status of TaskRun build: only " + tekton + " and " + addOn + " may",
		},
		"an administrator": {write("kubernetes-admin", "tekton.dev/pipeline"), "kubernetes-admin may not write"},
		"another Tekton": {
			write("system:serviceaccount:tekton-pipelines:tekton-pipelines-controller", ""), "may not write",
		},
		"a pod of the namespace":  {write("system:serviceaccount:ci:default", ""), "may not write"},
		"run by another, by whom": {write("system:serviceaccount:else:controller", "else.dev/controller"), ""},
	})
}
