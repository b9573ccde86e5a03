// SPDX-License-Identifier: Apache-2.0

package merge_test

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/merge"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/tektontest"
)

// pod is the input of both functions.
type pod struct {
	spec       v1.TaskSpec
	containers []corev1.ContainerStatus
	failed     bool
	logged     []logged // nil if values travel by termination message
}

// logged is a value that Tekton's results sidecar logged: artifacts of a step if name is empty, and a task
// result if container is empty.
type logged struct{ container, name, value string }

// log is the interface of both logs.
type log interface {
	TaskResult(name, value string)
	StepResult(container, name, value string)
	StepArtifacts(container, value string)
}

func (p pod) fill(l log) {
	for _, v := range p.logged {
		switch {
		case v.container == "":
			l.TaskResult(v.name, v.value)
		case v.name == "":
			l.StepArtifacts(v.container, v.value)
		default:
			l.StepResult(v.container, v.name, v.value)
		}
	}
}

// tektons returns what Tekton makes from the pod.
func (p pod) tektons(c tektontest.Controller) (merge.Outcome, error) {
	tr := v1.TaskRun{}
	tr.Status.TaskSpec = p.spec.DeepCopy()
	if tr.Status.TaskSpec.Results == nil {
		tr.Status.TaskSpec.Results = []v1.TaskResult{} // otherwise Tekton does not read the log
	}
	stored := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}
	if p.failed {
		stored.Status.Phase = corev1.PodFailed
	}
	for _, s := range p.containers {
		stored.Spec.Containers = append(stored.Spec.Containers, corev1.Container{Name: s.Name})
		stored.Status.ContainerStatuses = append(stored.Status.ContainerStatuses, *s.DeepCopy())
	}
	var l *tektontest.Log
	if p.logged != nil {
		l = &tektontest.Log{}
		p.fill(l)
	}
	status, err := c.Status(tr, stored, p.spec.DeepCopy(), l)
	return merge.Outcome{Results: status.Results, Steps: status.Steps, Artifacts: *status.Artifacts}, err
}

// ours returns what package merge makes from the pod.
func (p pod) ours() (merge.Outcome, error) {
	var l merge.Log
	p.fill(&l)
	return merge.Merge(&p.spec, p.containers, l)
}

// compare merges a pod with Tekton's function and with ours.
func compare(t *testing.T, c tektontest.Controller, p pod) {
	t.Helper()
	before := p.spec.DeepCopy()
	want, wantErr := p.tektons(c)
	got, gotErr := p.ours()
	for _, o := range []merge.Outcome{want, got} { // Tekton reads them from a map, in random order
		for _, list := range [][]v1.Artifact{o.Artifacts.Inputs, o.Artifacts.Outputs} {
			slices.SortFunc(list, func(a, b v1.Artifact) int { return cmp.Compare(a.Name, b.Name) })
		}
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("Tekton's (-) and ours (+):\n%s\nof %s", gocmp.Diff(want, got), asJSON(t, p.containers))
	}
	if (wantErr == nil) != (gotErr == nil) {
		t.Errorf("Tekton's error: %v\nours: %v\nof %s", wantErr, gotErr, asJSON(t, p.containers))
	}
	if !reflect.DeepEqual(before, &p.spec) {
		t.Errorf("the declaration was changed:\n%s", gocmp.Diff(before, &p.spec))
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func ended(name, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, ImageID: "i", State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Message: message, Reason: "Completed"},
	}}
}

// podsOf returns pods for every TaskRun in a file, and for its archived attempts: one whose values travel by
// message, and one whose values from the status travel by log.
func podsOf(data []byte) []pod {
	var list struct {
		Items  []json.RawMessage `json:"items"`
		Status v1.TaskRunStatus  `json:"status"`
	}
	if json.Unmarshal(data, &list) != nil {
		return nil
	}
	var pods []pod
	for _, status := range append([]v1.TaskRunStatus{list.Status}, list.Status.RetriesStatus...) {
		pods = append(pods, podsOfStatus(&status)...)
	}
	for _, item := range list.Items {
		pods = append(pods, podsOf(item)...)
	}
	return pods
}

func podsOfStatus(status *v1.TaskRunStatus) []pod {
	if len(status.Steps) == 0 || len(status.Steps) > 200 {
		return nil
	}
	p := pod{spec: v1.TaskSpec{}}
	if status.TaskSpec != nil {
		p.spec.Results, p.spec.Steps = status.TaskSpec.Results, status.TaskSpec.Steps
	}
	byLog := pod{spec: p.spec, failed: true, logged: []logged{}}
	for _, r := range status.Results {
		byLog.logged = append(byLog.logged, logged{name: r.Name, value: r.Value.StringVal})
	}
	for _, s := range status.Steps {
		p.containers = append(p.containers, corev1.ContainerStatus{Name: s.Container, ImageID: s.ImageID,
			State: s.ContainerState})
		for _, r := range s.Results {
			byLog.logged = append(byLog.logged, logged{s.Container, r.Name, r.Value.StringVal})
		}
		artifacts, err := json.Marshal(v1.Artifacts{Inputs: s.Inputs, Outputs: s.Outputs})
		if err == nil {
			byLog.logged = append(byLog.logged, logged{container: s.Container, value: string(artifacts)})
		}
	}
	byLog.containers = p.containers
	return []pod{p, byLog}
}

// TestRecorded merges what real clusters recorded.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("../../../pkg/verify/testdata/recorded/*.json")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	c, merged := tektontest.NewController(), 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range podsOf(data) {
			compare(t, c, p)
			merged++
		}
	}
	if merged < 100 {
		t.Errorf("merged %d pods only", merged)
	}
}

// BenchmarkMerge merges the output of two steps with ten results.
func BenchmarkMerge(b *testing.B) {
	c := tektontest.NewController()
	p := pod{containers: []corev1.ContainerStatus{ended("step-a", fiveResults("a")), ended("step-b", fiveResults("b"))}}
	for name, merged := range map[string]func() (merge.Outcome, error){
		"ours": p.ours, "Tekton's": func() (merge.Outcome, error) { return p.tektons(c) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if out, err := merged(); err != nil || len(out.Results) != 10 {
					b.Fatalf("%d results, %v", len(out.Results), err)
				}
			}
		})
	}
}

// fiveResults returns a message with five results, half of those of a typical TaskRun.
func fiveResults(step string) string {
	var entries []result.RunResult
	for i := range 5 {
		entries = append(entries, result.RunResult{Key: step + string(rune('0'+i)),
			Value: "sha256:2c26b46b68ffc68ff99b453c1d304134", ResultType: result.TaskRunResultType})
	}
	data, err := json.Marshal(entries)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return string(data)
}
