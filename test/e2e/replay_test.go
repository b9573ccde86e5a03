// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// update records what the controller made of the TaskRuns for the unit tests of pkg/verify.
var update = flag.Bool("update", false, "record the TaskRuns in pkg/verify/testdata/recorded")

// recordings is where they are recorded.
const recordings = "../../pkg/verify/testdata/recorded"

// replaySuite runs TaskRuns under the stock controller and compares what it stores with what the verifier replays.
type replaySuite struct {
	*cluster
	namespace string
	trust     *trust.Cluster
	bundle    string // file
	verifier  *verify.Verifier
}

// TestReplay turns signing on once and runs each way of passing results with Tekton's settings for it. All TaskRuns
// of a way run at the same time.
func TestReplay(t *testing.T) {
	c := open(t)
	c.enable(t)
	s := newReplaySuite(t, c)
	t.Run("termination messages", func(t *testing.T) {
		s.setFeatures(t, map[string]string{"enable-artifacts": "true"})
		s.compare(t, verifytest.RecordedPlain())
	})
	t.Run("compressed", func(t *testing.T) {
		s.setFeatures(t, map[string]string{"enable-termination-message-compression": "true"})
		s.compare(t, verifytest.RecordedCompressed())
	})
	t.Run("sidecar logs", func(t *testing.T) {
		s.allowLogs(t)
		s.setFeatures(t, map[string]string{"results-from": "sidecar-logs", "enable-artifacts": "true"})
		s.compare(t, verifytest.RecordedSidecar())
	})
}

// allowLogs lets Tekton's controller read logs, as its manifest enable-log-access-to-controller does.
func (c *cluster) allowLogs(t *testing.T) {
	t.Helper()
	rbac := c.kube.RbacV1()
	object := metav1.ObjectMeta{Name: "e2e-log-access"}
	role := &rbacv1.ClusterRole{
		ObjectMeta: object, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods/log"},
			Verbs: []string{"get"}}},
	}
	if _, err := rbac.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rbac.ClusterRoles().Delete(context.Background(), object.Name, metav1.DeleteOptions{}) })
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: object, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: object.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "tekton-pipelines",
			Name: "tekton-pipelines-controller"}},
	}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = rbac.ClusterRoleBindings().Delete(context.Background(), object.Name, metav1.DeleteOptions{})
	})
}

func newReplaySuite(t *testing.T, c *cluster) *replaySuite {
	t.Helper()
	s := &replaySuite{cluster: c, namespace: c.namespace(t, true), bundle: filepath.Join(t.TempDir(), "bundle.json")}
	exported := c.mustKubectl(t, "tekton-sign", "trust", "export")
	writeFile(t, s.bundle, exported)
	bundle, err := trust.Parse([]byte(exported))
	if err != nil {
		t.Fatal(err)
	}
	s.trust = &bundle.Clusters[0]
	if s.verifier, err = verify.New(s.trust, verify.WithUnrecorded()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll(recordings, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(recordings, "trust-bundle.json"), exported)
	}
	return s
}

// setFeatures changes Tekton's feature flags for the length of a test, and returns when the controller goes by them.
func (s *replaySuite) setFeatures(t *testing.T, features map[string]string) {
	t.Helper()
	maps := s.kube.CoreV1().ConfigMaps("tekton-pipelines")
	before, err := maps.Get(t.Context(), "feature-flags", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set := func(ctx context.Context, data any) {
		patch, err := json.Marshal(map[string]any{"data": data})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := maps.Patch(ctx, "feature-flags", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	old := map[string]*string{} // nil: the key goes
	for key := range features {
		old[key] = nil
		if value, ok := before.Data[key]; ok {
			old[key] = &value
		}
	}
	set(t.Context(), features)
	t.Cleanup(func() { set(context.Background(), old) })
	s.awaitFeatures(t, features)
}

// awaitFeatures starts TaskRuns until the controller writes into one that it goes by features.
func (s *replaySuite) awaitFeatures(t *testing.T, features map[string]string) {
	t.Helper()
	client := s.tekton.TektonV1().TaskRuns(s.namespace)
	s.eventually(t, "Tekton to take the feature flags over", func(ctx context.Context) (bool, error) {
		probe := &pipelinev1.TaskRun{ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-"}}
		probe.Spec.TaskSpec = &pipelinev1.TaskSpec{Steps: []pipelinev1.Step{{
			Image: "docker.io/library/busybox:1.36", Command: []string{"true"},
		}}}
		probe = s.start(t, s.namespace, probe)
		probe = s.watchUntil(t, probe, "shows its provenance",
			func(tr *pipelinev1.TaskRun) bool { return tr.Status.Provenance != nil })
		if err := client.Delete(ctx, probe.Name, metav1.DeleteOptions{}); err != nil {
			return false, err
		}
		return taken(probe, features), nil
	})
}

// taken reports whether the controller went by features when it ran tr.
func taken(tr *pipelinev1.TaskRun, features map[string]string) bool {
	got := tr.Status.Provenance.FeatureFlags
	values := map[string]string{
		"enable-artifacts":                       boolText(got.EnableArtifacts),
		"enable-termination-message-compression": boolText(got.EnableTerminationMessageCompression),
		"results-from":                           got.ResultExtractionMethod,
		"enforce-nonfalsifiability":              got.EnforceNonfalsifiability,
	}
	for key, want := range features {
		if value, known := values[key]; known && value != want {
			return false
		}
	}
	return true
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// replayObjects returns what testdata/replay holds, by name.
func replayObjects(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "replay", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		decoder := utilyaml.NewYAMLOrJSONDecoder(f, 4096)
		for {
			var object unstructured.Unstructured
			if decoder.Decode(&object) != nil {
				break
			}
			objects[object.GetName()] = &object
		}
		f.Close()
	}
	return objects
}

// compare runs the TaskRuns, verifies each live and from a file, and records them.
func (s *replaySuite) compare(t *testing.T, cases []verifytest.Recorded) {
	done := s.runAll(t, cases)
	for _, r := range cases {
		t.Run(r.Name, func(t *testing.T) {
			tr := done[r.Name]
			s.want(t, "live", r, r.Live, tr, verify.Facts{Live: true})
			s.want(t, "from a file", r, r.FromFile(), tr, verify.Facts{})
			if got := verify.Attempts(tr); got != len(r.Attempts) {
				t.Fatalf("%d attempts were archived, want %d", got, len(r.Attempts))
			}
			for i, want := range r.Attempts {
				attempt, err := verify.Attempt(tr, i)
				if err != nil {
					t.Fatal(err)
				}
				s.want(t, "archived attempt", r, want, attempt, verify.Facts{})
			}
			if *update {
				s.record(t, tr)
			}
		})
	}
	t.Run("offline", func(t *testing.T) { s.compareOffline(t, cases, done) })
	t.Run("tampered", func(t *testing.T) { s.compareTampered(t, done) })
}

// compareTampered verifies changed copies of the TaskRuns.
func (s *replaySuite) compareTampered(t *testing.T, done map[string]*pipelinev1.TaskRun) {
	for _, c := range verifytest.Tamperings() {
		if tr := done[c.Recorded]; tr != nil {
			t.Run(c.Recorded+"/"+c.Name, func(t *testing.T) {
				changed := tr.DeepCopy()
				c.Change(changed)
				s.want(t, "from a file", verifytest.Recorded{}, c.Want, changed, verify.Facts{})
			})
		}
	}
}

func (s *replaySuite) want(
	t *testing.T, how string, r verifytest.Recorded, want verifytest.Outcome, tr *pipelinev1.TaskRun, facts verify.Facts,
) {
	t.Helper()
	result := s.verifier.TaskRun(t.Context(), tr, facts)
	if got := verifytest.OutcomeOf(result); !r.Accepts(want, got) {
		checks, _ := json.MarshalIndent(result.Checks, "", " ")
		t.Errorf("%s: %s, want %s\n%s\n%s", how, got, want, checks, describe(tr))
	}
}

// runAll starts the TaskRuns and returns them when all are done.
func (s *replaySuite) runAll(t *testing.T, cases []verifytest.Recorded) map[string]*pipelinev1.TaskRun {
	t.Helper()
	objects := replayObjects(t)
	if action := objects["act"]; !s.exists(t, action) {
		s.create(t, action)
	}
	names := []string{}
	for _, r := range cases {
		// a child of the PipelineRun
		name, _, _ := strings.Cut(strings.TrimPrefix(r.Name, verifytest.SidecarPrefix), "-build-")
		if object := objects[name]; object != nil {
			if strings.HasPrefix(r.Name, verifytest.SidecarPrefix) {
				object.SetName(r.Name)
			}
			s.create(t, object)
			delete(objects, name)
		}
		names = append(names, r.Name)
	}
	done := map[string]*pipelinev1.TaskRun{}
	s.eventually(t, "the TaskRuns to be done", func(ctx context.Context) (bool, error) {
		list, err := s.tekton.TektonV1().TaskRuns(s.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for i := range list.Items {
			tr := &list.Items[i]
			if strings.Contains(tr.Name, "cancelled") && toBeCancelled(tr) {
				s.cancel(t, tr)
			}
			if tr.IsDone() {
				tr.APIVersion, tr.Kind, tr.ManagedFields = "tekton.dev/v1", "TaskRun", nil
				delete(tr.Status.Annotations, record.Annotation) // which would prove what the evidence alone does not
				done[tr.Name] = tr
			}
		}
		for _, name := range names {
			if done[name] == nil {
				time.Sleep(500 * time.Millisecond)
				return false, nil
			}
		}
		return true, nil
	})
	maps.DeleteFunc(done, func(name string, _ *pipelinev1.TaskRun) bool { return strings.HasPrefix(name, "probe-") })
	return done
}

// toBeCancelled reports whether the TaskRun's last attempt runs its last step.
func toBeCancelled(tr *pipelinev1.TaskRun) bool {
	steps := tr.Status.Steps
	return tr.Spec.Status == "" && len(tr.Status.RetriesStatus) == tr.Spec.Retries && tr.Status.PodName != "" &&
		len(steps) > 0 && steps[len(steps)-1].Running != nil && steps[0].Terminated != nil
}

func (s *replaySuite) exists(t *testing.T, object *unstructured.Unstructured) bool {
	t.Helper()
	resource, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	_, err := s.dynamic.Resource(resource).Namespace(s.namespace).Get(t.Context(), object.GetName(), metav1.GetOptions{})
	return err == nil
}

func (s *replaySuite) create(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	resource, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	if _, err := s.dynamic.Resource(resource).Namespace(s.namespace).Create(t.Context(), object,
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// record writes the TaskRun as the cluster stores it.
func (s *replaySuite) record(t *testing.T, tr *pipelinev1.TaskRun) {
	t.Helper()
	data, err := json.MarshalIndent(tr, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(recordings, tr.Name+".json"), string(data)+"\n")
}

// compareOffline has the plugin verify all TaskRuns from one file with the exported trust bundle.
func (s *replaySuite) compareOffline(t *testing.T, cases []verifytest.Recorded, done map[string]*pipelinev1.TaskRun) {
	list := pipelinev1.TaskRunList{TypeMeta: metav1.TypeMeta{APIVersion: "tekton.dev/v1", Kind: "TaskRunList"}}
	want := map[string]string{}
	for _, r := range cases {
		list.Items = append(list.Items, *done[r.Name])
		want[r.Name] = string(r.FromFile())
	}
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "taskruns.json")
	writeFile(t, file, string(data))
	out := s.kubectl(t, "tekton-sign", "verify", "--allow-unrecorded", "-o", "json", "-f", file, "--trust-bundle",
		s.bundle)
	var report struct {
		Items []struct {
			TaskRun         struct{ Name string }
			Verdict, Reason string
		}
	}
	if err := json.Unmarshal([]byte(out.stdout), &report); err != nil {
		t.Fatalf("no report: %v\n%s", err, out)
	}
	got := map[string]string{}
	for _, item := range report.Items {
		got[item.TaskRun.Name] = strings.TrimSpace(item.Verdict + " " + item.Reason)
	}
	for _, r := range cases {
		if r.Raced != "" && got[r.Name] == string(r.Raced) {
			want[r.Name] = got[r.Name]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the plugin says something else (-want +got):\n%s", diff)
	}
}
