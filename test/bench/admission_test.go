// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	tektonpod "github.com/tektoncd/pipeline/pkg/pod"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// The load of the admission benchmarks.
const (
	replayed   = 500 // writes
	concurrent = 100 // at a time
)

// BenchmarkStatusWebhook replays the completing status writes of 500 TaskRuns, 100 at a time, against the
// status webhook's handler, which judges each: by what the steps signed, and by a receipt. The pod is read from
// memory, because the time of the API server is not the handler's.
func BenchmarkStatusWebhook(b *testing.B) {
	for _, backend := range benchBackends() {
		b.Run(string(backend), func(b *testing.B) { replayStatus(b, backend) })
	}
}

// benchBackends are compared in the same run.
func benchBackends() []signing.Backend {
	return []signing.Backend{signing.BackendOIDCSAToken, signing.BackendReceipt}
}

func replayStatus(b *testing.B, backend signing.Backend) {
	b.Helper()
	cluster, _ := newCluster(b)
	trusted, err := cluster.Trust()
	if err != nil {
		b.Fatal(err)
	}
	now := func() time.Time { return verifytest.Start().Add(2 * time.Minute) }
	log := zap.NewNop().Sugar()
	fetch := func(context.Context) (*trust.Cluster, error) { return trusted, nil }
	key, err := seal.ParseKey(seal.NewSecret())
	if err != nil {
		b.Fatal(err)
	}
	pods := knownPods{}
	handler := &admission.StatusHandler{
		Scope:    everything{backend},
		Accounts: admission.Accounts{Tekton: tekton, AddOn: "system:serviceaccount:tekton-sign:controller"},
		Verifier: admission.NewTrust(fetch, nil, now, log), Pods: pods, Now: now, Log: log,
		SealKey: func() seal.Key { return key },
		Since:   func(string) (time.Time, bool) { return verifytest.Start().Add(-time.Hour), true },
	}
	var reviews [][]byte
	for i := range replayed {
		reviews = append(reviews, statusReview(b, cluster, pods, backend, i))
	}
	rule := admission.NewRule("tekton.dev", "v1", admissionv1.Update, map[string]string{"taskruns": "TaskRun"}, "status")
	replay(b, handler.Admit, rule, reviews, `TaskRunResultsVerified`)
}

// BenchmarkInjectWebhook replays the creations of 500 pods, 100 at a time, against the inject webhook's handler.
func BenchmarkInjectWebhook(b *testing.B) {
	handler := &admission.InjectHandler{
		Scope: everything{signing.BackendOIDCSAToken}, Log: zap.NewNop().Sugar(),
		Delivery:    func(settings.Delivery) settings.Delivery { return settings.DeliveryImage },
		Exception:   func(string, types.UID) (delivery.Entry, bool) { return delivery.Entry{}, false },
		Granted:     func(string) bool { return true },
		OnLeftAlone: func(admission.LeftAlone) {},
		Inject: func(pod *corev1.Pod, i admission.Injection) (*corev1.Pod, string, error) {
			injected, err := inject.Pod(pod, inject.Options{
				SignerImage: "ghcr.io/tekton-sign/signer:v1", PullPolicy: corev1.PullIfNotPresent,
				Delivery: inject.Delivery(i.Delivery), Step: i.Step,
			})
			return injected, "", err
		},
	}
	var reviews [][]byte
	for i := range replayed {
		reviews = append(reviews, podReview(b, i))
	}
	rule := admission.NewRule("", "v1", admissionv1.Create, map[string]string{"pods": "Pod"}, "")
	replay(b, handler.Admit, rule, reviews, "tekton-sign")
}

const tekton = "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"

// replay sends the reviews and reports how long the handler took, and how long a caller waited. Every answer
// must have a patch that contains want.
func replay(b *testing.B, admit admission.Admit, rule admission.Rule, reviews [][]byte, want string) {
	b.Helper()
	var mu sync.Mutex
	var inside, waited []time.Duration
	outcomes := map[admission.Outcome]int{}
	webhook := &admission.Webhook{
		Admit: admit, Rule: rule, Take: takeBody, Limiter: admission.NewLimiter(runtime.GOMAXPROCS(0)),
		Log: zap.NewNop().Sugar(),
		Done: func(o admission.Outcome, _, worked time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			inside = append(inside, worked)
			outcomes[o]++
		},
	}
	var peak uint64
	for b.Loop() {
		queue := make(chan []byte)
		var answers []*httptest.ResponseRecorder
		var wg sync.WaitGroup
		for range concurrent {
			wg.Go(func() {
				for body := range queue {
					start := time.Now()
					answer := post(b.Context(), webhook, body)
					took := time.Since(start)
					mu.Lock()
					waited, answers = append(waited, took), append(answers, answer)
					mu.Unlock()
				}
			})
		}
		for _, body := range reviews {
			queue <- body
		}
		close(queue)
		wg.Wait()
		for _, answer := range answers { // not measured: callers are other processes
			if patch := patchIn(b, answer.Body.Bytes()); !bytes.Contains(patch, []byte(want)) {
				b.Fatalf("expected a patch with %s, got %s; outcomes: %v", want, answer.Body, outcomes)
			}
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapInuse)
	}
	b.ReportMetric(percentile(inside, 50), "ms-p50-inside")
	b.ReportMetric(percentile(inside, 99), "ms-p99-inside")
	b.ReportMetric(percentile(waited, 50), "ms-p50-caller")
	b.ReportMetric(percentile(waited, 99), "ms-p99-caller")
	b.ReportMetric(float64(len(inside))/b.Elapsed().Seconds(), "reviews/s")
	b.ReportMetric(float64(peak)/(1<<20), "MiB-heap")
}

// takeBody reads a body without the limits of a server.
func takeBody(_ http.ResponseWriter, r *http.Request) (body []byte, done func(), status int, err error) {
	body, err = io.ReadAll(r.Body)
	return body, func() {}, http.StatusBadRequest, err
}

func post(ctx context.Context, webhook http.Handler, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	webhook.ServeHTTP(recorder, request)
	return recorder
}

// patchIn returns the patch in the webhook's answer.
func patchIn(b *testing.B, body []byte) []byte {
	b.Helper()
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Response == nil {
		b.Fatalf("no answer: %v: %s", err, body)
	}
	return review.Response.Patch
}

// percentile returns the p-th percentile in milliseconds.
func percentile(d []time.Duration, p int) float64 {
	slices.Sort(d)
	return float64(d[(len(d)-1)*p/100].Microseconds()) / 1000
}

// everything is the scope of all namespaces.
type everything struct{ backend signing.Backend }

func (everything) Ready() bool                             { return true }
func (everything) InScope(string) bool                     { return true }
func (everything) Enforcement(string) settings.Enforcement { return settings.Enforce }
func (e everything) Settings() settings.Settings {
	s := settings.Default()
	s.Backend = e.backend
	return s
}

// knownPods are pods by name.
type knownPods map[string]*corev1.Pod

// Get implements admission.PodGetter.
func (p knownPods) Get(_ context.Context, _, name string, _ bool) (*corev1.Pod, error) {
	if pod := p[name]; pod != nil {
		return pod, nil
	}
	return nil, fmt.Errorf("no pod %s", name)
}

// Log implements admission.PodGetter.
func (knownPods) Log(context.Context, string, string, string, int64) ([]byte, error) {
	return nil, errors.New("no logs")
}

func numberedRun(i int) *verifytest.Run {
	run := typicalRun(fmt.Sprintf("build-%d", i), fmt.Sprintf("6340374f-3a88-4ff2-812e-%012x", i))
	run.PodUID = fmt.Sprintf("3db15e48-971f-4815-84b3-%012x", i)
	return run
}

// statusReview returns the review of the write that completes a TaskRun, with the signing material, as Tekton
// sends it. With backend receipt there is none. It adds the TaskRun's pod to pods.
func statusReview(
	b *testing.B, cluster *verifytest.Cluster, pods knownPods, backend signing.Backend, i int,
) []byte {
	b.Helper()
	run := numberedRun(i)
	for s := range run.Steps {
		run.Steps[s].Bare = backend == signing.BackendReceipt
	}
	pod, err := run.Pod(cluster)
	if err != nil {
		b.Fatal(err)
	}
	pods[pod.Name] = pod
	after, err := run.TaskRunOf(pod.DeepCopy())
	if err != nil {
		b.Fatal(err)
	}
	before := after.DeepCopy()
	before.Status = v1.TaskRunStatus{}
	before.Status.PodName, before.Status.StartTime = after.Status.PodName, after.Status.StartTime
	before.Status.TaskSpec = after.Status.TaskSpec
	request := &admissionv1.AdmissionRequest{
		UID: after.UID, Namespace: after.Namespace, Name: after.Name, Operation: admissionv1.Update,
		Kind:        metav1.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "TaskRun"},
		Resource:    metav1.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"},
		SubResource: "status", UserInfo: authenticationv1.UserInfo{Username: tekton},
	}
	before.APIVersion, before.Kind = "tekton.dev/v1", "TaskRun"
	request.OldObject.Raw, request.Object.Raw = encode(b, before), encode(b, after)
	return review(b, request)
}

// podReview returns the review of the creation of a TaskRun's pod, built by Tekton's own code.
func podReview(b *testing.B, i int) []byte {
	b.Helper()
	run := numberedRun(i)
	flags, err := config.NewFeatureFlagsFromMap(map[string]string{})
	if err != nil {
		b.Fatal(err)
	}
	defaults, err := config.NewDefaultsFromMap(map[string]string{})
	if err != nil {
		b.Fatal(err)
	}
	builder := tektonpod.Builder{
		Images: pipeline.Images{EntrypointImage: "tekton/entrypoint", ShellImage: "tekton/shell",
			WorkingDirInitImage: "tekton/workingdirinit"},
		KubeClient: fake.NewClientset(&corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.ServiceAccount},
		}),
	}
	ctx := config.ToContext(b.Context(), &config.Config{FeatureFlags: flags, Defaults: defaults})
	pod, err := builder.Build(ctx, &v1.TaskRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name, UID: types.UID(run.UID)},
		Spec:       v1.TaskRunSpec{ServiceAccountName: run.ServiceAccount, TaskSpec: &run.Spec},
	}, run.Spec)
	if err != nil {
		b.Fatal(err)
	}
	request := &admissionv1.AdmissionRequest{
		UID: types.UID(run.UID), Namespace: run.Namespace, Name: pod.Name, Operation: admissionv1.Create,
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		UserInfo: authenticationv1.UserInfo{Username: tekton},
	}
	request.Object.Raw = encode(b, pod)
	return review(b, request)
}

func review(b *testing.B, request *admissionv1.AdmissionRequest) []byte {
	b.Helper()
	return encode(b, &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: request,
	})
}

func encode(tb testing.TB, object any) []byte {
	tb.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}
