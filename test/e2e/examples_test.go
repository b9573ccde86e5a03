// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"
)

// example is one of the files under examples/v1 of Tekton's module.
type example struct {
	name    string // its path there
	content string // with images that this cluster has
	skip    string // why it cannot run on a cluster without a network
}

// shells are the images for which the lab's busybox, which has a bash, can stand in.
var shells = regexp.MustCompile(`image: *"?[\w./-]*(ubuntu|alpine|bash|busybox)([:@][\w:.]+)?"?( |$)`)

// remote are the ways to a Task that lead out of the cluster.
var remote = regexp.MustCompile(`(?m)resolver: *"?(git|hub|bundles|http)\b`)

// newExample prepares one file.
func newExample(name, content string) example {
	e := example{name: name}
	if found := remote.FindString(content); found != "" {
		e.skip = "the Task comes from elsewhere: " + found
		return e
	}
	var lines []string
	for line := range strings.Lines(content) {
		line = strings.TrimSuffix(line, "\n")
		if before, image, ok := strings.Cut(line, "image: "); ok && strings.Trim(before, " -") == "" {
			if !shells.MatchString(line) {
				e.skip = "image " + image
				return e
			}
			line = before + "image: docker.io/library/busybox:1.36"
		}
		lines = append(lines, line)
	}
	e.content = strings.Join(lines, "\n")
	if looksUpEntrypoint(e.content) {
		e.skip = "a step without a command, whose image Tekton looks up in a registry"
	}
	return e
}

// looksUpEntrypoint reports whether a step of a file has neither command nor script.
func looksUpEntrypoint(content string) bool {
	for _, document := range regexp.MustCompile(`(?m)^---.*$`).Split(content, -1) {
		var value any
		if yaml.Unmarshal([]byte(document), &value) != nil {
			return true
		}
		if stepWithoutCommand(value) {
			return true
		}
	}
	return false
}

func stepWithoutCommand(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		steps, _ := v["steps"].([]any)
		for _, s := range steps {
			step, ok := s.(map[string]any)
			if ok && step["command"] == nil && step["script"] == nil && step["ref"] == nil {
				return true
			}
		}
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), stepWithoutCommand)
	case []any:
		return slices.ContainsFunc(v, stepWithoutCommand)
	}
	return false
}

// examples reads the files of Tekton's module, but for those that its own CI leaves out, too.
func examples(t *testing.T) []example {
	t.Helper()
	root := filepath.Join(tektonModule(t), "examples", "v1")
	var all []example
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" || strings.Contains(path, "/no-ci/") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		all = append(all, newExample(name, string(content)))
		return err
	})
	if err != nil || len(all) < 80 {
		t.Fatalf("got %d examples, want more than 80: %v", len(all), err)
	}
	return all
}

// tektonModule returns the folder with the source of the Tekton release under test.
func tektonModule(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}",
		"github.com/tektoncd/pipeline").Output()
	if err != nil {
		t.Fatalf("finding Tekton's module: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// TestNightlyExamples runs Tekton's own examples with and without injection: they end the same way.
func TestNightlyExamples(t *testing.T) {
	c := open(t)
	c.setFlags(t, map[string]string{
		"enable-api-fields": "alpha", "enable-artifacts": "true", "enable-param-enum": "true",
		"enable-cel-in-whenexpression": "true",
	})
	c.enable(t)
	var mu sync.Mutex
	succeeded, ran := 0, 0
	t.Run("example", func(t *testing.T) {
		for _, e := range examples(t) {
			if e.skip != "" {
				t.Logf("not run: %s: %s", e.name, e.skip)
				continue
			}
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				good := testExample(t, c, e)
				mu.Lock()
				defer mu.Unlock()
				ran++
				if good {
					succeeded++
				}
			})
		}
	})
	t.Logf("%d examples ran, %d of them to a good end", ran, succeeded)
	if ran < 70 || succeeded*10 < ran*8 {
		t.Errorf("%d examples ran and %d succeeded: want at least 70, and four in five: the cluster is at fault", ran,
			succeeded)
	}
}

// testExample reports whether the example succeeded without injection.
func testExample(t *testing.T, c *cluster, e example) bool {
	stock, signed := c.namespace(t, false), c.namespace(t, true)
	var outcomes [2]map[string]string
	var wait sync.WaitGroup
	for i, ns := range []string{stock, signed} {
		out := c.kubectlWithInput(t, e.content, "create", "-n", ns, "-f", "-")
		if out.code != 0 {
			t.Logf("%s: %s", ns, out.stderr)
			outcomes[i] = map[string]string{"create": "refused"}
			continue
		}
		wait.Go(func() { outcomes[i] = c.awaitRuns(t, ns) })
	}
	wait.Wait()
	if diff := cmp.Diff(outcomes[0], outcomes[1]); diff != "" {
		t.Errorf("injection changed the outcome (-without +with):\n%s", diff)
	}
	return !slices.ContainsFunc(slices.Collect(maps.Values(outcomes[0])),
		func(o string) bool { return !strings.HasPrefix(o, "True/") })
}

// awaitRuns waits until everything in a namespace has ended, and returns how.
func (c *cluster) awaitRuns(t *testing.T, ns string) map[string]string {
	deadline := time.Now().Add(patience)
	for {
		c.provision(t, ns)
		outcomes, running := c.runsIn(t, ns)
		if running == "" && len(outcomes) > 0 {
			return outcomes
		}
		if time.Now().After(deadline) {
			outcomes["waiting"] = "gave up"
			t.Logf("%s: gave up waiting for %s", ns, running)
			return outcomes
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// runsIn returns how the TaskRuns and PipelineRuns of a namespace have ended, by names that do not depend on
// chance, and one that has not.
func (c *cluster) runsIn(t *testing.T, ns string) (outcomes map[string]string, running string) {
	outcomes = map[string]string{}
	note := func(kind string, meta metav1.ObjectMeta, done bool, succeeded *apis.Condition, results []string) {
		name := meta.GenerateName
		if name == "" {
			name = meta.Name
		}
		if task := meta.Labels["tekton.dev/pipelineTask"]; task != "" {
			name = "of " + task
		}
		if !done {
			running = kind + " " + meta.Name
			return
		}
		slices.Sort(results)
		key := kind + " " + name
		for n := 2; outcomes[key] != ""; n++ {
			key = fmt.Sprintf("%s %s (%d)", kind, name, n)
		}
		outcomes[key] = fmt.Sprintf("%s/%s %v", succeeded.Status, succeeded.Reason, results)
	}
	taskRuns, err := c.tekton.TektonV1().TaskRuns(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Error(err)
		return outcomes, ""
	}
	for i := range taskRuns.Items {
		tr := &taskRuns.Items[i]
		note("TaskRun", tr.ObjectMeta, tr.IsDone(), tr.Status.GetCondition(apis.ConditionSucceeded), resultNames(tr))
	}
	pipelineRuns, err := c.tekton.TektonV1().PipelineRuns(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Error(err)
		return outcomes, ""
	}
	for i := range pipelineRuns.Items {
		pr := &pipelineRuns.Items[i]
		var names []string
		for _, r := range pr.Status.Results {
			names = append(names, r.Name)
		}
		note("PipelineRun", pr.ObjectMeta, pr.IsDone(), pr.Status.GetCondition(apis.ConditionSucceeded), names)
	}
	return outcomes, running
}

// provision gives each claim that waits a volume: a folder of the node. The namespace may be that of all.
func (c *cluster) provision(t *testing.T, ns string) {
	claims, err := c.kube.CoreV1().PersistentVolumeClaims(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		if t.Context().Err() == nil {
			t.Error(err)
		}
		return
	}
	for _, claim := range claims.Items {
		if claim.Status.Phase != corev1.ClaimPending || claim.Spec.VolumeName != "" {
			continue
		}
		kind, class := corev1.HostPathDirectoryOrCreate, ""
		if claim.Spec.StorageClassName != nil {
			class = *claim.Spec.StorageClassName
		}
		volume := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "e2e-" + string(claim.UID)},
			Spec: corev1.PersistentVolumeSpec{
				AccessModes: claim.Spec.AccessModes, StorageClassName: class,
				Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Gi")},
				ClaimRef: &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: claim.Namespace,
					Name: claim.Name, UID: claim.UID},
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete, // of folders under /tmp, which it must be
				PersistentVolumeSource: corev1.PersistentVolumeSource{
					HostPath: &corev1.HostPathVolumeSource{Path: "/tmp/tekton-sign-e2e/" + string(claim.UID), Type: &kind},
				},
			},
		}
		if _, err := c.kube.CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}); err != nil {
			continue // made in the round before
		}
		t.Cleanup(func() {
			_ = c.kube.CoreV1().PersistentVolumes().Delete(context.Background(), volume.Name, metav1.DeleteOptions{})
		})
	}
}
