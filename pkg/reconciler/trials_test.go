// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

const trialSigner = "registry.example.com/signer:v1"

// trialRig is the reconciler with the cluster that it looks at.
type trialRig struct {
	trials *Trials
	client *fake.Clientset
	events *record.FakeRecorder
	refuse func(*corev1.Pod) error // what the cluster says to a pod
	asked  []*corev1.Pod
	nodes  settings.Delivery // what the nodes can
}

func newTrialRig(t *testing.T) *trialRig {
	t.Helper()
	rig := &trialRig{events: record.NewFakeRecorder(10), nodes: settings.DeliveryImage,
		refuse: func(*corev1.Pod) error { return nil }}
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	rig.client = fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: delivery.ConfigMapName}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "tekton-pipelines", Name: settings.ConfigMapName},
			Data: s.Data()},
	)
	rig.client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, ok := action.(clienttesting.CreateActionImpl)
		pod, typed := create.GetObject().(*corev1.Pod)
		if !ok || !typed || !slices.Equal(create.GetCreateOptions().DryRun, []string{metav1.DryRunAll}) {
			t.Errorf("expected a dry run of a pod, got %+v", action)
			return true, nil, errors.New("no dry run")
		}
		rig.asked = append(rig.asked, pod)
		return true, pod, rig.refuse(pod)
	})
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	meta := metadatafake.NewSimpleMetadataClient(scheme, &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "ci"},
	})
	log := zap.NewNop().Sugar()
	followed := NewSettings(rig.client, "tekton-pipelines", log)
	namespaces := NewNamespaces(meta, followed, "tekton-pipelines")
	view, err := delivery.NewView(rig.client, trialSigner)
	if err != nil {
		t.Fatal(err)
	}
	rig.trials = NewTrials(TrialsConfig{
		Client: rig.client, Metadata: meta, Settings: followed, Namespaces: namespaces,
		Ready: func() bool { return true },
		Choose: func(wanted settings.Delivery) settings.Delivery {
			if wanted == settings.DeliveryAuto {
				return rig.nodes
			}
			return wanted
		},
		Image: func(context.Context) (string, error) { return "tekton.example.com/entrypoint:v1", nil },
		Inject: func(pod *corev1.Pod, by settings.Delivery, s settings.Settings) (*corev1.Pod, error) {
			return inject.Pod(pod, inject.Options{SignerImage: trialSigner, Delivery: inject.Delivery(by), Step: s.Step()})
		},
		View: view, Store: delivery.NewStore(rig.client, view, delivery.Trial, "test"), Recorder: rig.events, Log: log,
		Now: time.Now,
	})
	go followed.Run(t.Context())
	go namespaces.Run(t.Context())
	go view.Run(t.Context())
	rig.until(t, func() bool { return followed.HasSynced() && namespaces.HasSynced() && view.HasSynced() })
	if err := rig.trials.Promote(pkgreconciler.UniversalBucket(),
		func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	return rig
}

func (r *trialRig) until(t *testing.T, seen func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return seen(), nil })
	if err != nil {
		t.Fatal("not seen in time")
	}
}

// reconcile tries a namespace, and returns what is kept of it then.
func (r *trialRig) reconcile(t *testing.T, namespace string) *delivery.Exception {
	t.Helper()
	r.asked = nil
	var again interface{ Error() string }
	if err := r.trials.Reconcile(t.Context(), namespace); err != nil && !errors.As(err, &again) {
		t.Fatal(err)
	}
	cm, err := r.client.CoreV1().ConfigMaps(settings.Namespace).Get(t.Context(), delivery.ConfigMapName,
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := delivery.Parse(cm.Data)
	r.until(t, func() bool { return cmp.Equal(want.Entries(), r.trials.View.Table().Entries()) })
	if e, ok := want.Of(namespace, delivery.Trial); ok {
		return &e
	}
	return nil
}

// hasImageVolume and hasRegistry are what policies look at.
func hasImageVolume(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Image != nil })
}

func hasSigner(pod *corev1.Pod) bool {
	return hasImageVolume(pod) || slices.ContainsFunc(pod.Spec.InitContainers,
		func(c corev1.Container) bool { return c.Image == trialSigner })
}

func forbidden(words string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "tekton-sign-trial-pod", errors.New(words))
}

func statusError(code int32, words string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Message: words}}
}

func TestTrials(t *testing.T) {
	const words = "ValidatingAdmissionPolicy 'mine' with binding 'mine' denied request: not here"
	refuseIf := func(refused func(*corev1.Pod) bool, err error) func(*corev1.Pod) error {
		return func(pod *corev1.Pod) error {
			if refused(pod) {
				return err
			}
			return nil
		}
	}
	everything := func(*corev1.Pod) bool { return true }
	byInit := func(pod *corev1.Pod) bool { return hasSigner(pod) && !hasImageVolume(pod) }
	found := func(by settings.Delivery, reason string) *delivery.Exception {
		return &delivery.Exception{Delivery: by, Reason: reason, Image: trialSigner}
	}
	for name, tc := range map[string]struct {
		nodes  settings.Delivery
		refuse func(*corev1.Pod) error
		want   *delivery.Exception
		asked  int
	}{
		"nothing is refused": {settings.DeliveryImage, refuseIf(everything, nil), nil, 1},
		"image volumes": {settings.DeliveryImage, refuseIf(hasImageVolume, forbidden(words)),
			found(settings.DeliveryInit, words), 4},
		"the signer": {settings.DeliveryImage, refuseIf(hasSigner, forbidden(words)),
			found(delivery.None, words), 4},
		"init containers": {settings.DeliveryInit, refuseIf(byInit, forbidden(words)),
			found(delivery.None, words), 3},
		"a webhook": {settings.DeliveryImage, refuseIf(hasSigner, statusError(http.StatusBadRequest, "no")),
			found(delivery.None, "no"), 4},
		"not valid": {settings.DeliveryImage,
			refuseIf(hasImageVolume, statusError(http.StatusUnprocessableEntity, "no")), found(settings.DeliveryInit, "no"), 4},
		"every pod": {settings.DeliveryImage, refuseIf(everything, forbidden(words)), nil, 4},
		"a quota":   {settings.DeliveryImage, refuseIf(hasSigner, forbidden("exceeded quota: q")), nil, 1},
		"a webhook does not answer": {settings.DeliveryImage,
			refuseIf(hasSigner, apierrors.NewInternalError(errors.New("failed calling webhook"))), nil, 1},
		"too many requests": {settings.DeliveryImage, refuseIf(hasSigner, apierrors.NewTooManyRequests("later", 1)),
			nil, 1},
		"no answer": {settings.DeliveryImage, refuseIf(hasSigner, context.DeadlineExceeded), nil, 1},
		"no answer to the other way": {settings.DeliveryImage, refuseEach(forbidden(words), context.DeadlineExceeded), nil,
			4},
	} {
		t.Run(name, func(t *testing.T) {
			rig := newTrialRig(t)
			rig.nodes, rig.refuse = tc.nodes, tc.refuse
			got := rig.reconcile(t, "ci")
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(delivery.Exception{}, "Since")); diff != "" {
				t.Error(diff)
			}
			if len(rig.asked) != tc.asked {
				t.Errorf("expected %d dry runs, got %d", tc.asked, len(rig.asked))
			}
		})
	}
}

// refuseEach refuses image volumes with one error and init containers with another.
func refuseEach(byImage, byInit error) func(*corev1.Pod) error {
	return func(pod *corev1.Pod) error {
		switch {
		case hasImageVolume(pod):
			return byImage
		case hasSigner(pod):
			return byInit
		}
		return nil
	}
}

// TestTrialHeals: what is refused no longer is forgotten; what is not known changes nothing; and each change is
// told once.
func TestTrialHeals(t *testing.T) {
	rig := newTrialRig(t)
	refuse := func(pod *corev1.Pod) error {
		if hasSigner(pod) {
			return forbidden(strings.Repeat("no ", 200))
		}
		return nil
	}
	rig.refuse = refuse
	first := rig.reconcile(t, "ci")
	if first == nil || first.Delivery != delivery.None || len(first.Reason) > delivery.MaxReason {
		t.Fatalf("got %+v", first)
	}
	if again := rig.reconcile(t, "ci"); !cmp.Equal(first, again) {
		t.Errorf("the same was found, and stored otherwise: %s", cmp.Diff(first, again))
	}
	rig.refuse = func(*corev1.Pod) error { return apierrors.NewServiceUnavailable("away") }
	if got := rig.reconcile(t, "ci"); got == nil {
		t.Error("an API server that does not answer healed it")
	}
	rig.refuse = func(*corev1.Pod) error { return nil }
	if got := rig.reconcile(t, "ci"); got != nil {
		t.Errorf("not healed: %+v", got)
	}
	close(rig.events.Events)
	var told []string
	for e := range rig.events.Events {
		told = append(told, strings.Fields(e)[1])
	}
	if diff := cmp.Diff([]string{"SignerRefused", "SignerDelivered"}, told); diff != "" {
		t.Error(diff)
	}
}

// TestTrialIsAskedFor: what asks for a trial is taken back before it, and a namespace that is gone leaves nothing.
func TestTrialIsAskedFor(t *testing.T) {
	rig := newTrialRig(t)
	rig.refuse = func(*corev1.Pod) error { return forbidden("no") }
	for _, namespace := range []string{"ci", "gone"} {
		if err := rig.trials.Store.AskForTrial(t.Context(), namespace, time.Now()); err != nil {
			t.Fatal(err)
		}
		rig.until(t, func() bool { return slices.Contains(rig.trials.View.Table().Refused(), namespace) })
	}
	if err := rig.trials.Store.Set(t.Context(), "gone", delivery.Exception{Delivery: delivery.None}); err != nil {
		t.Fatal(err)
	}
	rig.until(t, func() bool { return len(rig.trials.View.Table().Entries()) == 1 })
	for _, namespace := range []string{"ci", "gone"} {
		if got := rig.reconcile(t, namespace); got != nil {
			t.Errorf("namespace %s: %+v", namespace, got)
		}
	}
	rig.until(t, func() bool { return len(rig.trials.View.Table().Refused()) == 0 })
	if len(rig.asked) != 0 {
		t.Errorf("a namespace that is not there was tried: %d dry runs", len(rig.asked))
	}
}

// TestModelPod: Tekton's pod, as the injection takes it.
func TestModelPod(t *testing.T) {
	stock := inject.Model("ci", "tekton.example.com/entrypoint:v1")
	for _, by := range []inject.Delivery{inject.DeliveryImage, inject.DeliveryInit} {
		injected, err := inject.Pod(stock, inject.Options{SignerImage: trialSigner, Delivery: by,
			Step: settings.Default().Step()})
		if err != nil {
			t.Fatal(err)
		}
		if !hasSigner(injected) || hasImageVolume(injected) != (by == inject.DeliveryImage) || hasSigner(stock) {
			t.Errorf("delivery %s: %+v", by, injected.Spec)
		}
		for _, c := range slices.Concat(injected.Spec.InitContainers, injected.Spec.Containers) {
			if c.SecurityContext == nil || c.SecurityContext.RunAsNonRoot == nil || !*c.SecurityContext.RunAsNonRoot {
				t.Errorf("delivery %s: container %s is not restricted", by, c.Name)
			}
		}
	}
}

func TestReasonOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{forbidden("not here"), "not here"},
		{statusError(http.StatusBadRequest, `admission webhook "w" denied the request: no`),
			`admission webhook "w" denied the request: no`},
		{statusError(http.StatusBadRequest, ""), "refused without a reason"},
	} {
		if got := reasonOf(tc.err); got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.err, got, tc.want)
		}
	}
}

func TestTektonImage(t *testing.T) {
	template := func(args ...string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Args: args}}}}
	}
	meta := metav1.ObjectMeta{Namespace: "tekton-pipelines", Name: "c", Labels: map[string]string{
		"app.kubernetes.io/part-of": "tekton-pipelines", "app.kubernetes.io/component": "controller",
	}}
	for name, tc := range map[string]struct {
		object runtime.Object
		want   string
	}{
		"Deployment": {&appsv1.Deployment{ObjectMeta: meta,
			Spec: appsv1.DeploymentSpec{Template: template("-entrypoint-image", "e:1", "-nop-image", "n")}}, "e:1"},
		"StatefulSet": {&appsv1.StatefulSet{ObjectMeta: meta,
			Spec: appsv1.StatefulSetSpec{Template: template("--entrypoint-image=e:2")}}, "e:2"},
		"nothing": {&appsv1.Deployment{ObjectMeta: meta,
			Spec: appsv1.DeploymentSpec{Template: template("entrypoint-image", "x")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(tc.object)
			image := NewTektonImage(client, "tekton-pipelines", time.Now)
			for range 2 {
				if got, err := image.Get(t.Context()); got != tc.want || (err == nil) != (tc.want != "") {
					t.Errorf("got %q and %v", got, err)
				}
			}
			if n := len(client.Actions()); tc.want != "" && n != 2 {
				t.Errorf("asked %d times, want once for each kind", n)
			}
		})
	}
}

// TestRefusedPodsAreTold: a TaskRun that has just failed without a pod, for the reasons that Tekton gives when it
// could not create one.
func TestRefusedPodsAreTold(t *testing.T) {
	for name, tc := range map[string]struct {
		event  watch.EventType
		reason string
		pod    string
		want   int
	}{
		"refused":                 {watch.Modified, "PodCreationFailed", "", 1},
		"refused by Pod Security": {watch.Modified, "PodAdmissionFailed", "", 1},
		"from long ago":           {watch.Added, "PodCreationFailed", "", 0},
		"for a reason of its own": {watch.Modified, "TaskRunValidationFailed", "", 0},
		"with a pod":              {watch.Modified, "PodCreationFailed", "a-pod", 0},
	} {
		lab := newRecordsLab(t, func(tr *v1.TaskRun) {
			tr.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionSucceeded, Status: corev1.ConditionFalse,
				Reason: tc.reason}}
			tr.Status.PodName, tr.Status.Steps, tr.Status.Results = tc.pod, nil, nil
		})
		items, err := lab.taskRuns.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		lab.seen(tc.event, &items.Items[0])
		if len(lab.refused) != tc.want {
			t.Errorf("%s: told %q", name, lab.refused)
		}
	}
}
