// SPDX-License-Identifier: Apache-2.0

//go:build !race && linux

package corpus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// ofRequest is the size of a request to an API server compared with that of a file: 3 MiB to 8.
const ofRequest = 3

const tektonUser = "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"

// enforced is the scope of all namespaces, with a mode.
type enforced settings.Enforcement

func (enforced) Ready() bool                               { return true }
func (enforced) InScope(string) bool                       { return true }
func (e enforced) Enforcement(string) settings.Enforcement { return settings.Enforcement(e) }
func (enforced) Settings() settings.Settings {
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	return s
}

// ownPod returns the pod in which the TaskRuns were signed.
type ownPod struct{}

func (ownPod) Get(_ context.Context, namespace, name string, _ bool) (*corev1.Pod, error) {
	run, yes := verifytest.NewRun(), true
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(run.PodUID),
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "tekton.dev/v1", Kind: "TaskRun", UID: types.UID(run.UID), Controller: &yes,
		}},
	}}, nil
}

func (ownPod) Log(context.Context, string, string, string, int64) ([]byte, error) {
	return nil, errors.New("no logs")
}

func statusHandler(t *testing.T, bundle []byte, mode settings.Enforcement) *admission.StatusHandler {
	t.Helper()
	trusts, err := trust.Parse(bundle)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := trusts.Cluster("")
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.ParseKey(seal.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	now, log := func() time.Time { return verifytest.Start().Add(2 * time.Minute) }, zap.NewNop().Sugar()
	fetch := func(context.Context) (*trust.Cluster, error) { return trusted, nil }
	return &admission.StatusHandler{
		Scope:    enforced(mode),
		Accounts: admission.Accounts{Tekton: tektonUser, AddOn: "system:serviceaccount:tekton-sign:controller"},
		Verifier: admission.NewTrust(fetch, nil, now, log), Pods: ownPod{}, Now: now, Log: log,
		SealKey: func() seal.Key { return key }, Since: func(string) (time.Time, bool) { return time.Time{}, false },
	}
}

// request returns an API server's review of an object, which replaces old if that is not nil.
func request(t *testing.T, resource string, o, old any) *admissionv1.AdmissionRequest {
	t.Helper()
	r := &admissionv1.AdmissionRequest{
		UID: "r", Namespace: "ci", Name: "build",
		Resource: metav1.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: resource},
		UserInfo: authenticationv1.UserInfo{Username: tektonUser},
	}
	for _, part := range []struct {
		from any
		to   *[]byte
	}{{o, &r.Object.Raw}, {old, &r.OldObject.Raw}} {
		if part.from == nil {
			continue
		}
		var err error
		if *part.to, err = json.Marshal(part.from); err != nil {
			t.Fatal(err)
		}
		if len(*part.to) > ofRequest<<20 {
			t.Fatalf("%d bytes are more than an API server takes", len(*part.to))
		}
	}
	return r
}

// checkRequests checks the cost of answers to requests of both sizes.
func checkRequests(t *testing.T, make func(size int) *admissionv1.AdmissionRequest, admit admission.Admit) {
	t.Helper()
	requests := map[int]*admissionv1.AdmissionRequest{1: make(1), larger: make(larger)}
	checkGrowth(t, func(size int) {
		if response := admit(t.Context(), requests[size]); response == nil ||
			response.Result != nil && strings.Contains(response.Result.Message, "internal error") {
			t.Errorf("got %+v", response)
		}
	})
}

// The cost of a write to a status grows no faster than the status, whatever it is that grows: for the write
// that completes the TaskRun, the next one, and one while it is running.
func TestGrowthOfStatusWrites(t *testing.T) {
	all, bundle := bases(t)
	for _, g := range grownObjects {
		grown := func(t *testing.T, size int) object {
			var o object
			if err := json.Unmarshal(all[g.base], &o); err != nil {
				t.Fatal(err)
			}
			g.grow(o, g.most*size/larger*ofRequest/9) // leaves room for what an API server adds
			o.at("metadata")["name"], o.at("metadata")["namespace"] = "build", "ci"
			return o
		}
		for _, mode := range []settings.Enforcement{settings.Audit, settings.Enforce} {
			handler := statusHandler(t, bundle, mode)
			for name, make := range map[string]func(t *testing.T, size int) *admissionv1.AdmissionRequest{
				"completing": func(t *testing.T, size int) *admissionv1.AdmissionRequest {
					o := grown(t, size)
					old := copyOf(o)
					old["status"] = object{"podName": "build-pod", "taskSpec": o.at("status")["taskSpec"]}
					return request(t, "taskruns", o, old)
				},
				"afterwards": func(t *testing.T, size int) *admissionv1.AdmissionRequest {
					o := grown(t, size)
					return request(t, "taskruns", o, o)
				},
				"running": func(t *testing.T, size int) *admissionv1.AdmissionRequest {
					o := grown(t, size)
					conditions, _ := o.at("status")["conditions"].([]any)
					running := []any{object{"type": "Succeeded", "status": "Unknown"}}
					o.at("status")["conditions"] = append(running, conditions[min(1, len(conditions)):]...)
					old := copyOf(o)
					old["status"] = object{"podName": "build-pod", "taskSpec": o.at("status")["taskSpec"]}
					return request(t, "taskruns", o, old)
				},
			} {
				t.Run(fmt.Sprintf("%s, %s, %s", g.name, mode, name), func(t *testing.T) {
					checkRequests(t, func(size int) *admissionv1.AdmissionRequest { return make(t, size) }, handler.Admit)
				})
			}
		}
	}
}

// grownPods are pods of TaskRuns with something that can be repeated in a request.
var grownPods = []struct {
	name string
	most int
	grow func(pod *corev1.Pod, n int)
}{
	{"steps", 240, func(pod *corev1.Pod, n int) { addSteps(pod, n, func(int, *corev1.Container) {}) }},
	{"more steps than can sign", 1600, func(pod *corev1.Pod, n int) { addSteps(pod, n, func(int, *corev1.Container) {}) }},
	{"sidecars", 8000, func(pod *corev1.Pod, n int) {
		times(n, func(i int) {
			addContainer(&pod.Spec.Containers, fmt.Sprint("sidecar-", i))
		})
	}},
	{"init containers", 8000, func(pod *corev1.Pod, n int) {
		times(n, func(i int) {
			addContainer(&pod.Spec.InitContainers, fmt.Sprint("i", i))
		})
	}},
	{"arguments", 200_000, func(pod *corev1.Pod, n int) {
		pod.Spec.Containers[0].Args = append(pod.Spec.Containers[0].Args, words(n)...)
	}},
	{"arguments that name the signer", 60_000, func(pod *corev1.Pod, n int) {
		c := &pod.Spec.Containers[0]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: delivery.Volume, MountPath: "/x"})
		c.Command = []string{"/other"}
		times(n, func(int) { c.Args = append(c.Args, step.PodPath, "run") })
	}},
	{"arguments that nearly start the signer", 20_000, func(pod *corev1.Pod, n int) {
		c := &pod.Spec.Containers[0]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: delivery.Volume, MountPath: "/x"})
		c.Command = []string{"/other"}
		c.Args = []string{step.PodPath, "run"}
		times(n, func(int) { c.Args = append(c.Args, "-namespace", step.PodPath, "-container", step.PodPath) })
	}},
	{"results", 100_000, func(pod *corev1.Pod, n int) {
		args := pod.Spec.Containers[0].Args
		pod.Spec.Containers[0].Args = append([]string{"-results", strings.Join(words(n), ",")}, args...)
	}},
	{"annotations", 80_000, func(pod *corev1.Pod, n int) {
		times(n, func(i int) { pod.Annotations[fmt.Sprint("a", i)] = "x" })
	}},
	{"labels", 80_000, func(pod *corev1.Pod, n int) { times(n, func(i int) { pod.Labels[fmt.Sprint("a", i)] = "x" }) }},
	{"owners", 16_000, func(pod *corev1.Pod, n int) {
		times(n, func(int) {
			pod.OwnerReferences = append(pod.OwnerReferences, metav1.OwnerReference{Kind: "TaskRun", Name: "b"})
		})
	}},
	{"volumes", 24_000, func(pod *corev1.Pod, n int) {
		times(n, func(i int) { pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: fmt.Sprint("v", i)}) })
	}},
	{"mounts", 24_000, func(pod *corev1.Pod, n int) {
		times(n, func(i int) {
			c := &pod.Spec.Containers[0]
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: fmt.Sprint("v", i), MountPath: "/x"})
		})
	}},
	{"variables", 48_000, func(pod *corev1.Pod, n int) {
		times(n, func(i int) {
			pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprint("E", i)})
		})
	}},
	{"pull secrets", 48_000, func(pod *corev1.Pod, n int) {
		times(n, func(i int) {
			pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: fmt.Sprint("s", i)})
		})
	}},
	{"bytes of an argument", 2 << 20, func(pod *corev1.Pod, n int) {
		pod.Spec.Containers[0].Args = append(pod.Spec.Containers[0].Args, text(n))
	}},
	{"bytes of the image of the entrypoint", 2 << 20, func(pod *corev1.Pod, n int) {
		pod.Spec.InitContainers[0].Image = "/entrypoint" + text(n) + ":v1.15.0"
	}},
}

// addSteps repeats the first step until there are n of it.
func addSteps(pod *corev1.Pod, n int, change func(i int, c *corev1.Container)) {
	first := pod.Spec.Containers[0]
	times(n, func(i int) {
		c := *first.DeepCopy()
		c.Name = fmt.Sprint("step-s", i)
		change(i, &c)
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	})
}

// The cost of injection grows no faster than the pod, whatever it is that grows, in a pod as Tekton makes it
// and in one that was injected before.
func TestGrowthOfInjection(t *testing.T) {
	options := func(by inject.Delivery) inject.Options {
		return inject.Options{
			SignerImage: "ghcr.io/tekton-sign/signer:v1", Delivery: by, Step: settings.Default().Step(),
			PullSecrets: []string{"mine"},
		}
	}
	for _, g := range grownPods {
		for _, by := range []inject.Delivery{inject.DeliveryImage, inject.DeliveryInit} {
			for _, before := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, injected before: %t", g.name, by, before), func(t *testing.T) {
					handler := &admission.InjectHandler{
						Scope: enforced(settings.Audit), Log: zap.NewNop().Sugar(),
						Delivery:  func(settings.Delivery) settings.Delivery { return settings.Delivery(by) },
						Exception: func(string, types.UID) (delivery.Entry, bool) { return delivery.Entry{}, false },
						Inject: func(pod *corev1.Pod, _ admission.Injection) (*corev1.Pod, string, error) {
							injected, err := inject.Pod(pod, options(by))
							var skipped *inject.SkippedError
							if errors.As(err, &skipped) {
								return injected, skipped.Reason, nil
							}
							return injected, "", err
						},
						Granted: func(string) bool { return true }, OnLeftAlone: func(admission.LeftAlone) {},
					}
					checkRequests(t, func(size int) *admissionv1.AdmissionRequest {
						pod := inject.Model("ci", "tekton/entrypoint:v1.15.0")
						if before {
							injected, err := inject.Pod(pod, options(by))
							if err != nil {
								t.Fatal(err)
							}
							pod = injected
						}
						g.grow(pod, g.most*size/larger)
						return request(t, "pods", pod, nil)
					}, handler.Admit)
				})
			}
		}
	}
}

// stored is an API server with a PipelineRun and its children.
type stored map[string]*unstructured.Unstructured

func (s stored) Get(
	_ context.Context, _ schema.GroupVersionResource, _, name string,
) (*unstructured.Unstructured, error) {
	if found := s[name]; found != nil {
		return found, nil
	}
	return nil, errors.New("not there")
}

func storedObject(t *testing.T, from any) *unstructured.Unstructured {
	t.Helper()
	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

// believed treats every child as verified.
type believed struct{}

func (believed) Verified(context.Context, *unstructured.Unstructured, *v1.TaskRun) (bool, string, error) {
	return true, "", nil
}
func (believed) TrustedCustomTask(string, string) bool { return true }

// The cost of creating a child grows no faster than the PipelineRun, whatever it is that grows. Each case
// creates the last child.
func TestGrowthOfConsumers(t *testing.T) {
	for _, g := range grownTrees {
		t.Run(g.name, func(t *testing.T) {
			handlers := map[string]*admission.ConsumerHandler{}
			checkRequests(t, func(size int) *admissionv1.AdmissionRequest {
				f, in := treeOf(), stored{}
				g.grow(f, g.most*size/larger/4) // an API server stores objects of 1.5 MiB
				for _, c := range f.Children {
					f.PipelineRun.Status.ChildReferences = append(f.PipelineRun.Status.ChildReferences, v1.ChildStatusReference{
						TypeMeta: runtime.TypeMeta{Kind: c.Kind}, Name: c.Name, PipelineTaskName: c.PipelineTask,
					})
					if c.TaskRun != nil {
						in[c.Name] = storedObject(t, c.TaskRun)
					}
				}
				in["release"] = storedObject(t, f.PipelineRun)
				created := &v1.TaskRun{}
				if len(f.Children) > 0 && f.Children[len(f.Children)-1].TaskRun != nil {
					created = f.Children[len(f.Children)-1].TaskRun.DeepCopy()
				}
				created.Status = v1.TaskRunStatus{}
				r := request(t, "taskruns", created, nil)
				r.UID = types.UID(fmt.Sprint(size))
				handlers[string(r.UID)] = &admission.ConsumerHandler{
					Scope: enforced(settings.Enforce), Reader: in, Judge: believed{}, Custom: believed{}, Log: zap.NewNop().Sugar(),
				}
				return r
			}, func(ctx context.Context, r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
				return handlers[string(r.UID)].Admit(ctx, r)
			})
		})
	}
}

func addContainer(to *[]corev1.Container, name string) {
	*to = append(*to, corev1.Container{Name: name, Image: "x"})
}
