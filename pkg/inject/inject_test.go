// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/apis/config"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/pod"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

var update = flag.Bool("update", false, "write the golden files")

const testUID = "6340374f-3a88-4ff2-812e-c155a2d8e142"

// releaseImage is Tekton's entrypoint as its releases name it.
const releaseImage = "ghcr.io/tektoncd/pipeline/entrypoint-bff0a22da108bc2f16c818c97641a296:v1.15.0@" +
	"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

func testOptions(delivery Delivery) Options {
	return Options{
		SignerImage: "ghcr.io/tekton-sign/signer:v1", PullPolicy: corev1.PullIfNotPresent,
		Delivery: delivery, Step: step.Options{
			Backend: signing.BackendOIDCSAToken, Format: signing.FormatV2, Binding: signing.BindingPayload,
			Tokens: signing.DefaultTokens(),
		},
		API:      step.APIServer{Address: "https://10.96.0.1:443", CAs: []string{strings.Repeat("0a", 32)}},
		Patience: 5 * time.Second,
	}
}

// stockPod builds the pod of a TaskRun with Tekton's own code.
func stockPod(
	t *testing.T, features map[string]string, name string, spec v1.TaskSpec, change func(*v1.TaskRun),
) *corev1.Pod {
	t.Helper()
	flags, err := config.NewFeatureFlagsFromMap(features)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := config.NewDefaultsFromMap(map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := config.ToContext(context.Background(), &config.Config{FeatureFlags: flags, Defaults: defaults})
	tr := &v1.TaskRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, UID: testUID},
		Spec:       v1.TaskRunSpec{ServiceAccountName: "builder", TaskSpec: &spec},
	}
	if change != nil {
		change(tr)
	}
	builder := pod.Builder{
		Images: pipeline.Images{
			EntrypointImage: releaseImage, ShellImage: "tekton/shell", WorkingDirInitImage: "tekton/workingdirinit",
			SidecarLogResultsImage: "tekton/sidecarlogresults",
		},
		KubeClient: fake.NewClientset(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ci",
			Name: "builder"}}),
	}
	p, err := builder.Build(ctx, tr, spec)
	if err != nil {
		t.Fatal(err)
	}
	p.Annotations[pod.ReleaseAnnotation] = "v1.15.0" // depends on how the test was built
	return p
}

// scripts returns a Task with a script for each step.
func scripts(names ...string) v1.TaskSpec {
	spec := v1.TaskSpec{Results: []v1.TaskResult{{Name: "digest", Type: v1.ResultsTypeString}}}
	for _, name := range names {
		spec.Steps = append(spec.Steps, v1.Step{Name: name, Image: "busybox", Script: "#!/bin/sh\necho " + name})
	}
	return spec
}

// commands returns a Task with one step for each command line.
func commands(lines ...[]string) v1.TaskSpec {
	spec := v1.TaskSpec{}
	for _, line := range lines {
		spec.Steps = append(spec.Steps, v1.Step{Image: "busybox", Command: line[:1], Args: line[1:]})
	}
	return spec
}

// randomNames matches the random names that Tekton generates for each pod.
var randomNames = regexp.MustCompile(`(script-\d+|randomly-generated)-[a-z0-9]{5}\b`)

func golden(t *testing.T, name string, p *corev1.Pod) {
	t.Helper()
	got, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	got = randomNames.ReplaceAll(got, []byte("$1-xxxxx"))
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("pod differs from %s (-want +got); go test ./pkg/inject -update writes it anew:\n%s", file, diff)
	}
}

func TestPodOfTekton(t *testing.T) {
	alpha := map[string]string{"enable-api-fields": "alpha"}
	failing := commands([]string{"sh", "-c", "exit $(params.code)", "--"}, []string{"-post_file", "--", "x"})
	failing.Steps[0].OnError, failing.Steps[0].Timeout = v1.Continue, &metav1.Duration{Duration: time.Minute}
	failing.Steps[1].StdoutConfig = &v1.StepOutputConfig{Path: "-breakpoint_on_failure"}
	failing.Steps[1].When = v1.StepWhenExpressions{{Input: "a", Operator: "in", Values: []string{"-post_file", "--"}}}
	failing.Steps[1].Results = []v1.StepResult{{Name: "scan"}}
	withSidecar := scripts("build")
	withSidecar.Sidecars = []v1.Sidecar{{Name: "database", Image: "postgres", Command: []string{"postgres"}}}
	withSidecar.Steps[0].WorkingDir = "/workspace/src"
	for name, c := range map[string]struct {
		features map[string]string
		spec     v1.TaskSpec
		change   func(*v1.TaskRun)
		delivery Delivery
	}{
		"two-scripts-by-image": {nil, scripts("build", "push"), nil, DeliveryImage},
		"two-scripts-by-init": {
			map[string]string{"set-security-context": "true"}, scripts("build", "push"), nil, DeliveryInit,
		},
		"flags-that-mislead": {alpha, failing, nil, DeliveryImage},
		"sidecar-and-folder": {nil, withSidecar, nil, DeliveryInit},
		"compressed": {
			map[string]string{"enable-termination-message-compression": "true"}, scripts("build"), nil, DeliveryImage,
		},
		"results-by-sidecar": {sidecarFlags(), sidecarSpec(), nil, DeliveryInit},
		"breakpoint-on-failure": {
			alpha, scripts("build"), breakpoint(v1.TaskBreakpoints{OnFailure: "enabled"}), DeliveryImage,
		},
		"breakpoint-before-step": {alpha, scripts("build", "push"),
			breakpoint(v1.TaskBreakpoints{BeforeSteps: []string{"push"}}), DeliveryImage},
	} {
		t.Run(name, func(t *testing.T) {
			stock := stockPod(t, c.features, "build", c.spec, c.change)
			before := stock.DeepCopy()
			got, err := Pod(stock, testOptions(c.delivery))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, stock); diff != "" {
				t.Errorf("the stock pod was changed (-before +after):\n%s", diff)
			}
			golden(t, name, got)
			again, err := Pod(got, testOptions(c.delivery))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("the injected pod was changed (-before +after):\n%s", diff)
			}
			checkSteps(t, stock, got)
		})
	}
}

func breakpoint(breakpoints v1.TaskBreakpoints) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) { tr.Spec.Debug = &v1.TaskRunDebug{Breakpoints: &breakpoints} }
}

// checkSteps reads the injected pod as the signer does.
func checkSteps(t *testing.T, stock, injected *corev1.Pod) {
	t.Helper()
	steps := 0
	for i, c := range injected.Spec.Containers {
		if !pod.IsContainerStep(c.Name) {
			if diff := cmp.Diff(stock.Spec.Containers[i], c); diff != "" {
				t.Errorf("container %s was changed (-stock +injected):\n%s", c.Name, diff)
			}
			continue
		}
		config, command, err := step.Parse(c.Args)
		if err != nil {
			t.Errorf("container %s: %v", c.Name, err)
			continue
		}
		if int(config.Index) != steps || config.Container != c.Name || config.TaskRun != "build" ||
			config.TaskRunUID.String() != testUID || config.Namespace != "ci" {
			t.Errorf("container %s, step %d: configured as %+v", c.Name, steps, config)
		}
		if want := room.Share(containers(injected)); config.Share != want {
			t.Errorf("container %s: share %d, want %d", c.Name, config.Share, want)
		}
		restored := slices.Clone(command)
		if i := slices.Index(restored, step.PrivatePostFile(config.PostFile)); i >= 0 && config.PostFile != "" {
			restored[i] = config.PostFile
		}
		s := stock.Spec.Containers[i]
		if diff := cmp.Diff(append(slices.Clone(s.Command), s.Args...), restored); diff != "" {
			t.Errorf("container %s: the entrypoint's command line differs (-stock +injected):\n%s", c.Name, diff)
		}
		steps++
	}
	if steps == 0 {
		t.Error("the pod has no steps")
	}
}

func TestPodLongName(t *testing.T) {
	for _, length := range []int{59, 60, 63} {
		name := strings.Repeat("n", length)
		got, err := Pod(stockPod(t, nil, name, scripts("build"), nil), testOptions(DeliveryImage))
		if err != nil {
			t.Fatal(err)
		}
		config, _, err := step.Parse(got.Spec.Containers[0].Args)
		if err != nil {
			t.Fatal(err)
		}
		if config.TaskRun != name {
			t.Errorf("TaskRun %q, want %q", config.TaskRun, name)
		}
	}
}

func TestPodAgainAfterAContainerWasAdded(t *testing.T) {
	got, err := Pod(stockPod(t, nil, "build", commands([]string{"true"}), nil), testOptions(DeliveryInit))
	if err != nil {
		t.Fatal(err)
	}
	if want := 4096; signerShare(t, got) != want { // 3 containers
		t.Errorf("share %d, want %d", signerShare(t, got), want)
	}
	got.Spec.Containers = append(got.Spec.Containers, corev1.Container{Name: "proxy"})
	got, err = Pod(got, testOptions(DeliveryInit))
	if err != nil {
		t.Fatal(err)
	}
	if want := 3072; signerShare(t, got) != want || want != room.Share(containers(got)) {
		got, want := signerShare(t, got), want
		t.Errorf("share %d after a container was added, want %d", got, want)
	}
}

func signerShare(t *testing.T, p *corev1.Pod) int {
	t.Helper()
	config, _, err := step.Parse(p.Spec.Containers[0].Args)
	if err != nil {
		t.Fatal(err)
	}
	return config.Share
}

func TestShare(t *testing.T) {
	for containers, want := range map[int]int{0: 4096, 1: 4096, 3: 4096, 4: 3072, 5: 2457, 6: 2048, 7: 1755, 8: 1536,
		10: 1228, 12: 1024} {
		p := &corev1.Pod{}
		for i := range containers {
			switch i % 3 {
			case 0:
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{})
			case 1:
				p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{})
			case 2:
				p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{})
			}
		}
		spec := p.Spec
		if got := room.Share(len(spec.Containers) + len(spec.InitContainers) + len(spec.EphemeralContainers)); got != want {
			t.Errorf("%d containers: share %d, want %d", containers, got, want)
		}
	}
}

// TestPodOfAnEarlierAddOn checks that a pod that an earlier version injected does not change, because its
// signer accepts no other arguments.
func TestPodOfAnEarlierAddOn(t *testing.T) {
	options := testOptions(DeliveryInit)
	earlier := options
	earlier.API, earlier.Patience = step.APIServer{}, 0
	injected, err := Pod(stockPod(t, nil, "build", scripts("build"), nil), earlier)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Pod(injected, options)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(injected, again); diff != "" {
		t.Errorf("the pod was changed (-before +after):\n%s", diff)
	}
}
