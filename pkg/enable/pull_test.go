// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// readyNode returns a node of a platform that takes pods.
func readyNode(name, arch string, taints ...corev1.Taint) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.NodeSpec{Taints: taints},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			NodeInfo: corev1.NodeSystemInfo{
				OperatingSystem: "linux", Architecture: arch, KubeletVersion: "v1.35.4",
				ContainerRuntimeVersion: "containerd://2.4.2",
			},
		},
	}
}

// pullingFrom returns a namespace whose default service account has pull secrets.
func pullingFrom(name string, secrets ...string) []runtime.Object {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: defaultAccount}}
	for _, s := range secrets {
		account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	other := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "other"}}
	return []runtime.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name,
			Labels: map[string]string{"kubernetes.io/metadata.name": name}}}, account, other,
	}
}

// kubelet makes pods of probes reach a state. It returns the pods that were created.
func (c *fakeCluster) kubelet(state func(*corev1.Pod) error) *[]*corev1.Pod {
	var made []*corev1.Pod
	c.kube.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		create, _ := a.(clienttesting.CreateActionImpl)
		pod, _ := create.Object.(*corev1.Pod)
		pod.Name = fmt.Sprintf("%s%d", pod.GenerateName, len(made))
		if err := state(pod); err != nil {
			return true, nil, err
		}
		made = append(made, pod.DeepCopy())
		return true, pod, c.kube.Tracker().Add(pod)
	})
	return &made
}

func starts(pod *corev1.Pod) error {
	pod.Status.Phase = corev1.PodSucceeded
	return nil
}

// waits makes a container wait for a reason.
func waits(container, reason, message string) func(*corev1.Pod) error {
	return func(pod *corev1.Pod) error {
		pod.Status.Phase = corev1.PodPending
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name:  container,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}
		return nil
	}
}

func fails(reason string, code int32) func(*corev1.Pod) error {
	return func(pod *corev1.Pod) error {
		pod.Status.Phase = corev1.PodFailed
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code,
				Message: "exec format error"}},
		}}
		return nil
	}
}

// prove runs the proof of a plan, and returns what it reported.
func prove(ctx context.Context, t *testing.T, c *fakeCluster, s settings.Settings) (string, error) {
	t.Helper()
	p := Plan{Environment: testEnvironment, Settings: s, SignerImage: testSigner}
	var said []string
	_, err := p.ProveSigner(ctx, c.Clients, func(format string, args ...any) {
		said = append(said, fmt.Sprintf(format, args...))
	})
	return strings.Join(said, "\n"), err
}

// An image that nodes do not get is an error with the kubelet's message and what the user can do; what cannot be
// shown is not an error. No pod is left.
func TestProveSigner(t *testing.T) {
	taint := corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}
	refused := func(*corev1.Pod) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "probe", errors.New("exceeded quota: none"))
	}
	backOff := waits(delivery.InitContainer, "ImagePullBackOff",
		`Back-off pulling image "`+testSigner+`": 401 Unauthorized`)
	for name, tc := range map[string]struct {
		node  *corev1.Node
		state func(*corev1.Pod) error
		err   string
		said  string
	}{
		"starts": {
			readyNode("n", "amd64"), starts, "",
			"nodes get the signer: linux/amd64 with containerd 2.4 (node n) in namespace ci",
		},
		"no such image": {
			readyNode("n", "amd64"), backOff, "linux/amd64 with containerd 2.4 (node n) in namespace ci: ImagePullBackOff: " +
				"Back-off pulling image", "",
		},
		"a volume of no image": {
			readyNode("n", "amd64"), waits(proofVolume, "ErrImagePull", testSigner+": not found"), "ErrImagePull", "",
		},
		"another platform": {
			readyNode("n", "arm64"), fails("StartError", 128),
			"the signer does not run: StartError, exit code 128: exec format error", "",
		},
		"killed": {
			readyNode("n", "amd64"), fails("OOMKilled", 137), "", "not proven that nodes get the signer: linux/amd64",
		},
		"refused": {readyNode("n", "amd64"), refused, "", "exceeded quota: none"},
		"never scheduled": {
			readyNode("n", "amd64"), waits("proof", "ContainerCreating", ""), "", "did not start in time: ContainerCreating",
		},
		"nodes that take no pods": {
			readyNode("n", "amd64", taint), backOff, "", "not proven that nodes get the signer: linux/amd64",
		},
		"no node": {&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, starts, "", "no node is ready"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCluster(t, append(pullingFrom("ci"), tc.node)...)
				c.kubelet(tc.state)
				said, err := prove(t.Context(), t, c, testRequest().Settings)
				if !matches(err, tc.err) || tc.err != "" && !matches(err, "--pull-secret") {
					t.Errorf("got error %v, want %q and the way out", err, tc.err)
				}
				if !strings.Contains(said, tc.said) {
					t.Errorf("said %q, want %q", said, tc.said)
				}
				noPods(t, c)
			})
		})
	}
}

func noPods(t *testing.T, c *fakeCluster) {
	t.Helper()
	left, err := c.kube.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("%d pods are left, %v", len(left.Items), err)
	}
}

// After an interruption no pod is left, and nothing is reported as proven.
func TestProveSignerInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, append(pullingFrom("ci"), readyNode("n", "amd64"))...)
		made := c.kubelet(waits("proof", "ContainerCreating", ""))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := prove(ctx, t, c, testRequest().Settings); !matches(err, "interrupted") ||
			!matches(err, "nothing was changed") {
			t.Errorf("got error %v, want that it was interrupted", err)
		}
		if len(*made) != 1 {
			t.Errorf("%d pods were made, want 1", len(*made))
		}
		noPods(t, c)
	})
}

// Each kind of node and each set of pull secrets is tried, with the secrets of the settings, up to the limit.
func TestPullProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testRequest().Settings
		s.PullSecrets, s.Delivery = []string{"mirror"}, settings.DeliveryInit
		objects := slices.Concat(pullingFrom("a"), pullingFrom("b", "regcred"), pullingFrom("c", "regcred"),
			pullingFrom("kube-system", "x"),
			[]runtime.Object{readyNode("amd", "amd64"), readyNode("amd-too", "amd64"), readyNode("arm", "arm64")})
		c := newFakeCluster(t, objects...)
		made := c.kubelet(starts)
		if _, err := prove(t.Context(), t, c, s); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, pod := range *made {
			required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
			node := required.NodeSelectorTerms[0].MatchFields[0].Values[0]
			got = append(got, fmt.Sprint(pod.Namespace, " ", node, " ", secretNames(pod.Spec.ImagePullSecrets)))
			if *pod.Spec.AutomountServiceAccountToken || len(pod.Spec.InitContainers) != 1 ||
				pod.Spec.InitContainers[0].Image != testSigner {
				t.Errorf("the pod has a token, or the signer is not delivered by an init container: %+v", pod.Spec)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"a amd [mirror]", "b arm [mirror regcred]"}, got); diff != "" {
			t.Errorf("pods (-want +got):\n%s", diff)
		}
		for i := range 20 {
			for _, object := range pullingFrom(fmt.Sprintf("many-%d", i), fmt.Sprintf("secret-%d", i)) {
				if err := c.kube.Tracker().Add(object); err != nil {
					t.Fatal(err)
				}
			}
		}
		*made = nil
		said, err := prove(t.Context(), t, c, s)
		if err != nil || len(*made) != maxProbes || !strings.Contains(said, "22 sets of pull secrets, of which 8 are tried") {
			t.Errorf("got %d pods, %v and %q; want %d", len(*made), err, said, maxProbes)
		}
	})
}

// exceptions returns ConfigMap delivery with these keys.
func exceptions(t *testing.T, entries map[string]delivery.Exception) *corev1.ConfigMap {
	t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: manifests.Namespace, Name: delivery.ConfigMapName},
		Data: map[string]string{}}
	for key, e := range entries {
		e.Since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		value, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		cm.Data[key] = string(value)
	}
	return cm
}

// A namespace that was left alone is tried by itself, and gets the signer again if its nodes get it.
func TestHeal(t *testing.T) {
	failing := func(pod *corev1.Pod) error {
		if pod.Namespace == "b" {
			return waits(delivery.InitContainer, "ErrImagePull", "401")(pod)
		}
		return starts(pod)
	}
	unproven := func(pod *corev1.Pod) error {
		if pod.Namespace == "b" {
			return errors.New("exceeded quota")
		}
		return starts(pod)
	}
	for name, tc := range map[string]struct {
		state func(*corev1.Pod) error
		want  []string
		err   string
	}{
		"all start":       {starts, []string{"gone", "b", "c"}, ""},
		"one cannot tell": {unproven, []string{"gone", "c"}, ""},
		"one fails":       {failing, nil, "in namespace b: ErrImagePull: 401"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := func(image string) delivery.Exception {
					return delivery.Exception{Delivery: delivery.None, Image: image}
				}
				objects := slices.Concat(pullingFrom("a"), pullingFrom("b"), pullingFrom("c"),
					[]runtime.Object{readyNode("n", "amd64"), exceptions(t,
						map[string]delivery.Exception{"b.start": stop(testSigner), "c.start": stop(testSigner), "gone.start": stop("old"),
							"a.trial": stop(testSigner)})})
				c := newFakeCluster(t, objects...)
				c.kubelet(tc.state)
				p := Plan{Environment: testEnvironment, Settings: testRequest().Settings, SignerImage: testSigner}
				healed, err := p.ProveSigner(t.Context(), c.Clients, silent)
				slices.Sort(healed)
				slices.Sort(tc.want)
				if diff := cmp.Diff(tc.want, healed); diff != "" || !matches(err, tc.err) {
					t.Errorf("got error %v; healed (-want +got):\n%s", err, diff)
				}
				if err != nil {
					return
				}
				if err := heal(t.Context(), c.kube, healed, silent); err != nil {
					t.Fatal(err)
				}
				left, err := delivery.Read(t.Context(), c.kube)
				if err != nil || len(left.Entries()) != 4-len(tc.want) {
					t.Errorf("%d entries are left, %v", len(left.Entries()), err)
				}
			})
		})
	}
}

// Where nodes do not get the signer, nothing is changed.
func TestApplyWithoutSigner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, append(pullingFrom("ci"), readyNode("n", "amd64"))...)
		c.kubelet(waits(delivery.InitContainer, "InvalidImageName", "bad"))
		err := planEnable(t, c, testRequest()).Apply(t.Context(), c.Clients, time.Minute, silent)
		if !matches(err, "InvalidImageName: bad") || len(c.writes) > 0 {
			t.Errorf("got %v and changes %v, want an error and none", err, c.writes)
		}
	})
}
