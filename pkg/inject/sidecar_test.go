// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// sidecarFlags are Tekton's feature flags with which results travel by the log of a sidecar.
func sidecarFlags() map[string]string { return map[string]string{"results-from": sidecarLogs} }

// sidecarSpec returns a Task with every kind of value: results of the task and of a step, and artifacts.
func sidecarSpec() v1.TaskSpec {
	spec := scripts("build", "push")
	spec.Results = append(spec.Results, v1.TaskResult{Name: "list", Type: v1.ResultsTypeArray})
	spec.Steps[0].Results = []v1.StepResult{{Name: "scan"}, {Name: "count"}}
	spec.Steps[1].Script += "\necho > /tekton/steps/step-push/artifacts/provenance.json"
	return spec
}

// valuesInPod returns the files that the injected steps will read.
func valuesInPod(t *testing.T, p *corev1.Pod) []*step.Values {
	t.Helper()
	var all []*step.Values
	for _, c := range p.Spec.Containers {
		if !tekton.IsStep(c.Name) {
			continue
		}
		config, _, err := step.Parse(c.Args)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, config.Values)
	}
	return all
}

func TestPodWithResultsSidecar(t *testing.T) {
	want := []*step.Values{
		{StepDir: "/tekton/run/0/status", StepResults: []string{"count", "scan"}},
		{
			ResultsDir: "/tekton/results", Results: []string{"digest", "list"},
			StepDir: "/tekton/run/1/status", Artifacts: true,
		},
	}
	stock := stockPod(t, sidecarFlags(), "build", sidecarSpec(), nil)
	moved := stock.DeepCopy() // as Tekton places it if it uses Kubernetes sidecars
	for i, c := range moved.Spec.Containers {
		if c.Name == resultsSidecar {
			c.Command = append(c.Command, "-kubernetes-sidecar-mode", "true")
			moved.Spec.InitContainers = append(moved.Spec.InitContainers, c)
			moved.Spec.Containers = append(moved.Spec.Containers[:i:i], moved.Spec.Containers[i+1:]...)
			break
		}
	}
	if len(moved.Spec.Containers) != 2 {
		t.Fatal("Tekton added no sidecar")
	}
	for name, p := range map[string]*corev1.Pod{"container": stock, "init container": moved} {
		t.Run(name, func(t *testing.T) {
			got, err := Pod(p, testOptions(DeliveryImage))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, valuesInPod(t, got)); diff != "" {
				t.Errorf("values differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPodWithoutResultsSidecar(t *testing.T) {
	spec := scripts("build")
	spec.Results = nil
	got, err := Pod(stockPod(t, sidecarFlags(), "build", spec, nil), testOptions(DeliveryImage))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*step.Values{nil}, valuesInPod(t, got)); diff != "" {
		t.Errorf("a Task without results works by messages whatever the flag says (-want +got):\n%s", diff)
	}
}

func TestPodSkipsStrangeResultsSidecar(t *testing.T) {
	sidecar := func(p *corev1.Pod) *corev1.Container { return &p.Spec.Containers[len(p.Spec.Containers)-1] }
	replace := func(old, new string) func(*corev1.Pod, *Options) {
		return func(p *corev1.Pod, _ *Options) {
			for i, arg := range sidecar(p).Command {
				sidecar(p).Command[i] = strings.ReplaceAll(arg, old, new)
			}
		}
	}
	for name, c := range map[string]struct {
		edit   func(*corev1.Pod, *Options)
		reason string
	}{
		"format v1": {func(_ *corev1.Pod, o *Options) {
			o.Step.Format, o.Step.Binding = signing.FormatV1, signing.BindingKey
		},
			"only signing-format v2"},
		"no sidecar": {func(p *corev1.Pod, _ *Options) { p.Spec.Containers = p.Spec.Containers[:2] },
			"expected one container sidecar-tekton-log-results with a command, got 0"},
		"no command": {func(p *corev1.Pod, _ *Options) { sidecar(p).Command = nil }, "with a command"},
		"two sidecars": {func(p *corev1.Pod, _ *Options) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, *sidecar(p))
		},
			"got 2 of them"},
		"unknown flag": {
			func(p *corev1.Pod, _ *Options) { sidecar(p).Args = []string{"-new", "x"} }, "flag provided but not defined: -new",
		},
		"no step results":       {replace("-step-results", "-step-names"), "-step-results: unexpected end of JSON input"},
		"name as a path":        {replace("digest,list", "../digest"), `"../digest" cannot be the file of a result`},
		"empty name":            {replace("digest,list", "digest,,list"), `"" cannot be the file of a result`},
		"step's name as a path": {replace(`"scan"`, `"a/b"`), `container step-build: "a/b" cannot be the file of a result`},
		"one step by message": {func(p *corev1.Pod, _ *Options) {
			for i, arg := range p.Spec.Containers[1].Args {
				if arg == sidecarLogs {
					p.Spec.Containers[1].Args[i] = messages
				}
			}
		}, "as in every step"},
		"another way": {func(p *corev1.Pod, _ *Options) {
			for _, c := range p.Spec.Containers[:2] {
				for i, arg := range c.Args {
					if arg == sidecarLogs {
						c.Args[i] = "carrier-pigeon"
					}
				}
			}
		}, `got "carrier-pigeon"`},
		"no folder of the step": {func(p *corev1.Pod, _ *Options) {
			for i, arg := range p.Spec.Containers[0].Args {
				if arg == "-"+flagStepDir {
					p.Spec.Containers[0].Args[i] = "-timeout"
				}
			}
		}, "expected -step_metadata_dir FOLDER"},
	} {
		t.Run(name, func(t *testing.T) {
			stock, options := stockPod(t, sidecarFlags(), "build", sidecarSpec(), nil), testOptions(DeliveryInit)
			c.edit(stock, &options)
			before := stock.DeepCopy()
			got, err := Pod(stock, options)
			var skip *SkippedError
			if !errors.As(err, &skip) || !strings.Contains(skip.Reason, c.reason) {
				t.Errorf("error %v, want one with the reason %q", err, c.reason)
			}
			if diff := cmp.Diff(before, got); diff != "" {
				t.Errorf("the pod was changed (-before +after):\n%s", diff)
			}
		})
	}
}
