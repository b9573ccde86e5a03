// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/workload"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// spireOptions are those of a backend that needs volumes in the pod.
func spireOptions(delivery Delivery) Options {
	o := testOptions(delivery)
	o.Step = step.Options{
		Backend: signing.BackendSPIRE, Format: signing.FormatV2,
		SPIRE: step.SPIRE{TrustDomain: "lab.test", Socket: "spire-agent.sock"},
	}
	o.API, o.Volumes = step.APIServer{}, spirecluster.StepVolumes()
	return o
}

const (
	spireVolume = volumeName + "-spire"
	podVolume   = volumeName + "-pod"
)

// mountsOf returns where a container mounts the backend's volumes.
func mountsOf(c corev1.Container) map[string]corev1.VolumeMount {
	mounts := map[string]corev1.VolumeMount{}
	for _, m := range c.VolumeMounts {
		if m.Name == spireVolume || m.Name == podVolume {
			mounts[m.Name] = m
		}
	}
	return mounts
}

func volumeOf(p *corev1.Pod, name string) *corev1.Volume {
	i := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Spec.Volumes[i]
}

// TestPodVolumes: only the steps mount the backend's volumes, read-only, and a second injection changes nothing.
func TestPodVolumes(t *testing.T) {
	want := map[string]corev1.VolumeMount{
		spireVolume: {Name: spireVolume, MountPath: workload.SocketDir, ReadOnly: true},
		podVolume:   {Name: podVolume, MountPath: workload.PodDir, ReadOnly: true},
	}
	for _, delivery := range []Delivery{DeliveryImage, DeliveryInit} {
		t.Run(string(delivery), func(t *testing.T) {
			stock := stockPod(t, sidecarFlags(), "build", sidecarSpec(), nil)
			got, err := Pod(stock, spireOptions(delivery))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range slices.Concat(got.Spec.InitContainers, got.Spec.Containers) {
				expected := map[string]corev1.VolumeMount{}
				if tekton.IsStep(c.Name) {
					expected = want
				}
				if diff := cmp.Diff(expected, mountsOf(c)); diff != "" {
					t.Errorf("mounts of container %s (-want +got):\n%s", c.Name, diff)
				}
			}
			csi := volumeOf(got, spireVolume).CSI
			if csi == nil || csi.Driver != spirecluster.CSIDriver || csi.ReadOnly == nil || !*csi.ReadOnly {
				t.Errorf("volume of the socket: got %v", csi)
			}
			if volumeOf(got, podVolume).DownwardAPI == nil {
				t.Error("expected a volume with the pod's name and UID")
			}
			again, err := Pod(got, spireOptions(delivery))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("the injected pod was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestPodKeepsBackend: a pod keeps the backend that it was made with when the settings change in between.
func TestPodKeepsBackend(t *testing.T) {
	stock := stockPod(t, nil, "build", scripts("build"), nil)
	for name, options := range map[string][2]Options{
		"from spire": {spireOptions(DeliveryImage), testOptions(DeliveryImage)},
		"to spire":   {testOptions(DeliveryImage), spireOptions(DeliveryImage)},
	} {
		t.Run(name, func(t *testing.T) {
			first, err := Pod(stock, options[0])
			if err != nil {
				t.Fatal(err)
			}
			second, err := Pod(first, options[1])
			if err != nil {
				t.Fatal(err)
			}
			config, _, err := step.Parse(second.Spec.Containers[0].Args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(options[0].Step, config.Options); diff != "" {
				t.Errorf("options of the signer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(first.Spec.Volumes, second.Spec.Volumes); diff != "" {
				t.Errorf("volumes (-first +second):\n%s", diff)
			}
		})
	}
}

// TestPodVolumesUnwrapped: a pod that can no longer sign loses the backend's volumes as well.
func TestPodVolumesUnwrapped(t *testing.T) {
	spec := commands([]string{"true"})
	spec.Results = []v1.TaskResult{{Name: "digest"}}
	stock := stockPod(t, nil, "build", spec, nil)
	stock.Spec.InitContainers[0].Image = "entrypoint" // of a release that does not read compressed messages
	wrapped, err := Pod(stock, spireOptions(DeliveryInit))
	if err != nil {
		t.Fatal(err)
	}
	added := corev1.Container{Name: "added", Image: "busybox"} // it lowers the share of the messages
	stock.Spec.Containers = append(stock.Spec.Containers, added)
	wrapped.Spec.Containers = append(wrapped.Spec.Containers, added)
	got, err := Pod(wrapped, spireOptions(DeliveryInit))
	var skip *SkippedError
	if !errors.As(err, &skip) {
		t.Fatalf("expected a skipped pod, got %v", err)
	}
	if diff := cmp.Diff(stock, got); diff != "" {
		t.Errorf("the unwrapped pod is not the stock pod (-stock +got):\n%s", diff)
	}
}

// TestPodVolumesInUse leaves pods alone that use the names or places of the backend's volumes.
func TestPodVolumesInUse(t *testing.T) {
	mount := func(name, path string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			c := &p.Spec.Containers[0]
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
		}
	}
	for name, tc := range map[string]struct {
		edit   func(*corev1.Pod)
		reason string
	}{
		"volume of the same name": {func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: spireVolume})
		}, "already has a volume " + spireVolume},
		"mount of the same name": {mount(podVolume, "/x"), "mounts volume " + podVolume + " at /x"},
		"place of the socket":    {mount("x", workload.SocketDir), "mounts volume x at " + workload.SocketDir},
		"place of the pod":       {mount("x", workload.PodDir), "mounts volume x at " + workload.PodDir},
	} {
		t.Run(name, func(t *testing.T) {
			stock := stockPod(t, nil, "build", scripts("build"), nil)
			tc.edit(stock)
			before := stock.DeepCopy()
			got, err := Pod(stock, spireOptions(DeliveryImage))
			var skip *SkippedError
			if !errors.As(err, &skip) || !strings.Contains(skip.Reason, tc.reason) {
				t.Errorf("expected the reason %q, got %v", tc.reason, err)
			}
			if diff := cmp.Diff(before, got); diff != "" {
				t.Errorf("the pod was changed (-before +after):\n%s", diff)
			}
		})
	}
	stock := stockPod(t, nil, "build", scripts("build"), nil)
	mount("x", workload.SocketDir)(stock)
	if _, err := Pod(stock, testOptions(DeliveryImage)); err != nil {
		t.Errorf("a backend without volumes needs no place for them: %v", err)
	}
}

// TestPodVolumesRestricted: volumes of the kinds that the Pod Security level restricted allows, and nothing for
// containers to gain.
func TestPodVolumesRestricted(t *testing.T) {
	stock := Model("ci", "busybox")
	got, err := Pod(stock, spireOptions(DeliveryInit))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range got.Spec.Volumes {
		if v.CSI == nil && v.DownwardAPI == nil && v.EmptyDir == nil && v.Projected == nil {
			t.Errorf("volume %s is of a kind that level restricted refuses: %v", v.Name, v.VolumeSource)
		}
	}
	for _, c := range slices.Concat(got.Spec.InitContainers, got.Spec.Containers) {
		s := c.SecurityContext
		if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.AllowPrivilegeEscalation == nil ||
			*s.AllowPrivilegeEscalation {
			t.Errorf("container %s does not fit level restricted: %v", c.Name, s)
		}
	}
}

// TestPodVolumesBudget leaves pods alone whose messages have no room for an SVID.
func TestPodVolumesBudget(t *testing.T) {
	for steps, want := range map[int]bool{1: true, 5: true, 30: false} {
		spec := commands(slices.Repeat([][]string{{"true"}}, steps)...)
		got, err := Pod(stockPod(t, nil, "build", spec, nil), spireOptions(DeliveryImage))
		var skip *SkippedError
		told := errors.As(err, &skip) && strings.Contains(skip.Reason, "a step's evidence takes about")
		if want != (err == nil) || !want && !told {
			t.Errorf("%d steps: got %v, want it injected: %t", steps, err, want)
		}
		if (volumeOf(got, spireVolume) != nil) != want {
			t.Errorf("%d steps: got the volumes %v", steps, got.Spec.Volumes)
		}
	}
}
