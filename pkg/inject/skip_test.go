// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	tektonpod "github.com/tektoncd/pipeline/pkg/apis/pipeline/pod"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

func TestPodSkips(t *testing.T) {
	windows := func(tr *v1.TaskRun) {
		tr.Spec.PodTemplate = &tektonpod.Template{NodeSelector: map[string]string{"kubernetes.io/os": "windows"}}
	}
	for name, c := range map[string]struct {
		features map[string]string
		change   func(*v1.TaskRun)
		edit     func(*corev1.Pod)
		reason   string
	}{
		"Windows by selector": {nil, windows, nil, "Windows"},
		"Windows by field":    {nil, nil, func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: "windows"} }, "Windows"},
		"no owner":            {nil, nil, func(p *corev1.Pod) { p.OwnerReferences = nil }, "no TaskRun controls"},
		"owner of another kind": {nil, nil, func(p *corev1.Pod) { p.OwnerReferences[0].Kind = "PipelineRun" },
			"no TaskRun controls"},
		"owner of another group": {nil, nil, func(p *corev1.Pod) {
			p.OwnerReferences[0].APIVersion = "tekton.dev.example/v1"
		},
			"no TaskRun controls"},
		"owner without control": {
			nil, nil, func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil }, "no TaskRun controls",
		},
		"Tekton's SPIRE": {map[string]string{"enable-api-fields": "alpha", "enforce-nonfalsifiability": "spire"}, nil, nil,
			"Tekton's own signing"},
		"no steps": {nil, nil, func(p *corev1.Pod) { p.Spec.Containers[0].Name = "main" }, "1 to 255 step containers, got 0"},
		"another command": {nil, nil, func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/vault"} },
			`expected container step-build to start /tekton/bin/entrypoint, got ["/vault"]: another webhook changed it before`},
		"no arguments": {nil, nil, func(p *corev1.Pod) { p.Spec.Containers[0].Args = nil }, `expected "--"`},
		"no post file": {nil, nil, func(p *corev1.Pod) { p.Spec.Containers[0].Args = []string{"-results", "a", "--"} },
			"expected -post_file FILE"},
		"unknown arguments": {nil, nil, func(p *corev1.Pod) {
			p.Spec.Containers[0].Args = append([]string{"-new_switch", "-x", "y"}, p.Spec.Containers[0].Args...)
		}, `expected a flag of the entrypoint, got "y"`},
		"another message file": {nil, nil, func(p *corev1.Pod) {
			p.Spec.Containers[0].TerminationMessagePath = "/dev/termination-log"
		},
			`"/dev/termination-log", got "/tekton/termination"`},
		"no prepare": {nil, nil, func(p *corev1.Pod) { p.Spec.InitContainers = nil }, "init container prepare"},
		"volume of the same name": {nil, nil, func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: volumeName})
		}, "already has a volume tekton-internal-sign"},
		"mount of the same name": {nil, nil, func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
				Name: "sidecar-x", VolumeMounts: []corev1.VolumeMount{{Name: volumeName, MountPath: "/x"}},
			})
		}, "container sidecar-x mounts volume tekton-internal-sign at /x"},
		"mount at the same place": {nil, nil, func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts,
				corev1.VolumeMount{Name: "x", MountPath: step.MountPath})
		}, "mounts volume x at /tekton/sign"},
		"init container of the same name": {nil, nil, func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: initName})
		}, "already has a container tekton-sign"},
	} {
		t.Run(name, func(t *testing.T) {
			stock := stockPod(t, c.features, "build", scripts("build"), c.change)
			if c.edit != nil {
				c.edit(stock)
			}
			before := stock.DeepCopy()
			got, err := Pod(stock, testOptions(DeliveryInit))
			var skip *SkippedError
			if !errors.As(err, &skip) || !strings.Contains(skip.Reason, c.reason) {
				t.Errorf("error %v, want one with the reason %q", err, c.reason)
			}
			if got != stock {
				t.Errorf("want the pod itself back")
			}
			if diff := cmp.Diff(before, stock); diff != "" {
				t.Errorf("the pod was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestTektonSigns recognizes Tekton's own signer in the pods that Tekton's code builds.
func TestTektonSigns(t *testing.T) {
	on := map[string]string{"enforce-nonfalsifiability": "spire"}
	edited := func(edit func(*corev1.Pod)) *corev1.Pod {
		pod := stockPod(t, on, "build", scripts("build", "push"), nil)
		edit(pod)
		return pod
	}
	off := func(p *corev1.Pod, i int) {
		p.Spec.Containers[i].Args = append([]string{"-enable_spire=false"}, slices.DeleteFunc(p.Spec.Containers[i].Args,
			func(arg string) bool { return arg == "-enable_spire" })...)
	}
	injected, err := Pod(stockPod(t, nil, "build", scripts("build"), nil), testOptions(DeliveryInit))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"on":          {edited(func(*corev1.Pod) {}), true},
		"in one step": {edited(func(p *corev1.Pod) { off(p, 0) }), true},
		"in none":     {edited(func(p *corev1.Pod) { off(p, 0); off(p, 1) }), false},
		"off":         {stockPod(t, nil, "build", scripts("build"), nil), false},
		"in a sidecar": {edited(func(p *corev1.Pod) {
			off(p, 1)
			p.Spec.Containers[0].Name = "sidecar-x"
		}), false},
		"an argument of the step": {edited(func(p *corev1.Pod) {
			off(p, 0)
			off(p, 1)
			p.Spec.Containers[0].Args = append(p.Spec.Containers[0].Args, "-enable_spire")
		}), false},
		"wrapped by another webhook": {edited(func(p *corev1.Pod) {
			p.Spec.Containers = p.Spec.Containers[:1]
			p.Spec.Containers[0].Command = []string{"/vault"}
		}), false},
		"the add-on's signer": {injected, false},
	} {
		if got := TektonSigns(c.pod); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestPodFails(t *testing.T) {
	good := testOptions(DeliveryImage)
	for name, c := range map[string]struct {
		edit func(*corev1.Pod, *Options)
		text string
	}{
		"label of another TaskRun": {
			func(p *corev1.Pod, _ *Options) { p.Labels[pipeline.TaskRunLabelKey] = "x" }, "tekton.dev/taskRun=x",
		},
		"label of another UID": {
			func(p *corev1.Pod, _ *Options) { p.Labels[pipeline.TaskRunUIDLabelKey] = "x" }, "taskRunUID=x",
		},
		"no UID": {func(p *corev1.Pod, _ *Options) {
			p.OwnerReferences[0].UID, p.Labels = "", nil
		}, "invalid UID"},
		"no namespace": {func(p *corev1.Pod, _ *Options) { p.Namespace = "" }, "no namespace"},
		"half injected": {func(p *corev1.Pod, o *Options) {
			injected, err := Pod(p, *o)
			if err != nil {
				panic(err)
			}
			p.Spec.Containers[1] = injected.Spec.Containers[1]
		}, "not both injected"},
		"signer with strange arguments": {func(p *corev1.Pod, _ *Options) {
			p.Spec.Containers[0].Command = []string{step.PodPath}
		}, "other arguments than the add-on's"},
		"no image":         {func(_ *corev1.Pod, o *Options) { o.SignerImage = "" }, "image is missing"},
		"no prefix":        {func(_ *corev1.Pod, o *Options) { o.Step.Tokens.Audience = "" }, "prefix is missing"},
		"unknown delivery": {func(_ *corev1.Pod, o *Options) { o.Delivery = "auto" }, `got "auto"`},
	} {
		t.Run(name, func(t *testing.T) {
			p, options := stockPod(t, nil, "build", scripts("build", "push"), nil), good
			c.edit(p, &options)
			got, err := Pod(p, options)
			var skip *SkippedError
			if err == nil || errors.As(err, &skip) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want one that is no skip and says %q", err, c.text)
			}
			if got != nil {
				t.Errorf("pod %s, want none", got.Name)
			}
		})
	}
}

func TestControllerOf(t *testing.T) {
	p := stockPod(t, nil, "build", scripts("build"), nil)
	if controllerOf(p) == nil {
		t.Error("a pod that Tekton made is not recognised")
	}
	p.OwnerReferences[0].Kind = "Job"
	if controllerOf(p) != nil {
		t.Error("a pod of a Job is taken for one of a TaskRun")
	}
}
