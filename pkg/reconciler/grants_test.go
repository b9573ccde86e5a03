// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	"k8s.io/client-go/tools/record"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// TestGrantsWithoutALeader: a replica that does not lead gives a new namespace its grant, and leaves to the leader
// what was given once.
func TestGrantsWithoutALeader(t *testing.T) {
	g := newGrantsTest(t)
	g.make("ci")
	g.reconcile("ci")
	g.want("before the policies were seen to bite", "ci", false)

	g.prove()
	g.reconcile("ci")
	g.want("of a new namespace", "ci", true)
	g.make("other")
	g.reconcile("other")
	g.want("of a namespace that is not in scope", "other", false)

	g.withdraw("ci")
	g.reconcile("ci")
	g.want("that the leader took away", "ci", false)

	g.unmake("ci")
	g.make("ci")
	g.reconcile("ci")
	g.want("of another namespace of the same name", "ci", true)
}

func TestGrantsOfTheLeader(t *testing.T) {
	g := newGrantsTest(t)
	if err := g.Promote(pkgreconciler.UniversalBucket(), func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	g.prove()
	g.make("ci")
	g.reconcile("ci")
	g.want("of a new namespace", "ci", true)
	g.withdraw("ci")
	g.reconcile("ci")
	g.want("that somebody took away", "ci", true)
	g.guard.state = fails
	g.reconcile("ci")
	g.want("while the policies fail", "ci", false)
}

// TestGrantsOfReceipts: a backend without tokens gives no right, and what it leaves shows since when a namespace is
// protected.
func TestGrantsOfReceipts(t *testing.T) {
	g := newGrantsTest(t)
	if err := g.Promote(pkgreconciler.UniversalBucket(), func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	g.prove()
	g.make("ci")
	g.use(signing.BackendReceipt)
	g.prove()
	g.reconcile("ci")
	g.want("of a new namespace", "ci", true)
	g.wantRight("with receipts", false)
	g.use(signing.BackendOIDCSAToken)
	g.reconcile("ci")
	g.wantRight("with tokens", true)
	g.use(signing.BackendReceipt)
	g.reconcile("ci")
	g.wantRight("with receipts again", false)
	g.guard.state = fails
	g.reconcile("ci")
	g.want("while the policies fail", "ci", false)
	g.prove()
	g.reconcile("ci")
	g.use(signing.BackendNone)
	g.reconcile("ci")
	g.want("without a backend", "ci", false)
}

// TestGrantsOfAWiderScope: the age of a grant counts, so a namespace that comes into scope by a change of the settings
// gets none before the policies were seen to refuse again. What was given stays.
func TestGrantsOfAWiderScope(t *testing.T) {
	g := newGrantsTest(t)
	if err := g.Promote(pkgreconciler.UniversalBucket(), func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	g.prove()
	g.make("ci")
	g.reconcile("ci")
	g.make("late")
	s := g.settings.Get()
	s.Scope.Names = []string{"ci", "late"}
	g.settings.set(s)
	g.reconcile("ci")
	g.want("that was given before", "ci", true)
	g.reconcile("late")
	g.want("before the policies' bindings can know the namespace", "late", false)
	g.prove()
	g.reconcile("late")
	g.want("after they refused again", "late", true)
}

// prove has the policies seen to refuse.
func (g grantsTest) prove() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.guard.state, g.guard.refusals = inEffect, probesNeeded
}

// use turns a backend on.
func (g grantsTest) use(backend signing.Backend) {
	s := g.settings.Get()
	s.Backend = backend
	g.settings.set(s)
}

// wantRight waits until the grant of namespace ci is seen with the right to request tokens, or without it.
func (g grantsTest) wantRight(when string, want bool) {
	g.t.Helper()
	g.until(fmt.Sprintf("%s the namespace has the right: %v", when, want), func() bool {
		_, granted := g.given.Since("ci")
		return granted && g.given.InForce("ci") == want
	})
}

type grantsTest struct {
	*Grants

	t        *testing.T
	client   *fake.Clientset
	metadata *metadatafake.FakeMetadataClient
}

func newGrantsTest(t *testing.T) grantsTest {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client, namespaces := fake.NewClientset(), metadatafake.NewSimpleMetadataClient(scheme)
	known := NewSettings(client, "tekton-pipelines", zap.NewNop().Sugar())
	s := settings.Default()
	s.Backend, s.Scope.Names = signing.BackendOIDCSAToken, []string{"ci"}
	known.set(s)
	view := NewNamespaces(namespaces, known, "tekton-pipelines")
	grants, err := NewGrants(GrantsConfig{
		Client: client, Settings: known, Namespaces: view, TektonNamespace: "tekton-pipelines",
		Probe:    func(context.Context, settings.Settings) error { return nil },
		Recorder: record.NewFakeRecorder(10), Log: zap.NewNop().Sugar(), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	queue := controller.NewContext(t.Context(), grants, controller.ControllerOptions{WorkQueueName: "grants",
		Logger: zap.NewNop().Sugar()})
	grants.Start(t.Context(), queue)
	go view.Run(t.Context())
	test := grantsTest{grants, t, client, namespaces}
	test.until("everything was seen", func() bool { return grants.given.HasSynced() && view.HasSynced() })
	return test
}

func (g grantsTest) until(what string, met func() bool) {
	g.t.Helper()
	err := wait.PollUntilContextTimeout(g.t.Context(), time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return met(), nil })
	if err != nil {
		g.t.Fatalf("waiting until %s: %v", what, err)
	}
}

func (g grantsTest) make(namespace string) {
	g.t.Helper()
	made := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{corev1.LabelMetadataName: namespace}},
	}
	if err := g.metadata.Tracker().Add(made); err != nil {
		g.t.Fatal(err)
	}
	g.until("the namespace was seen", func() bool { return g.namespaces.Exists(namespace) })
}

func (g grantsTest) unmake(namespace string) {
	g.t.Helper()
	if err := g.metadata.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("namespaces"), "",
		namespace); err != nil {
		g.t.Fatal(err)
	}
	g.until("its deletion was seen", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return !g.namespaces.Exists(namespace) && !g.known[namespace]
	})
}

// reconcile looks at a namespace as often as it takes until what came of it was seen.
func (g grantsTest) reconcile(namespace string) {
	g.t.Helper()
	before := g.exists(namespace)
	var err error
	if g.IsLeaderFor(types.NamespacedName{Name: namespace}) {
		err = g.reconcileNamespace(g.t.Context(), namespace)
	} else {
		err = g.giveFirst(g.t.Context(), namespace)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	if after := g.exists(namespace); after != before {
		g.until("the change was seen", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return (g.given.of(namespace) != nil) == after && (g.known[namespace] || !after)
		})
	}
}

// withdraw takes the grant away, as a leader does.
func (g grantsTest) withdraw(namespace string) {
	g.t.Helper()
	err := g.client.RbacV1().RoleBindings(namespace).Delete(g.t.Context(), manifests.TokenRequester,
		metav1.DeleteOptions{})
	if err != nil {
		g.t.Fatal(err)
	}
	g.until("that was seen", func() bool { return g.given.of(namespace) == nil })
}

func (g grantsTest) exists(namespace string) bool {
	g.t.Helper()
	_, err := g.client.RbacV1().RoleBindings(namespace).Get(g.t.Context(), manifests.TokenRequester, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		g.t.Fatal(err)
	}
	return err == nil
}

func (g grantsTest) want(which, namespace string, want bool) {
	g.t.Helper()
	if got := g.exists(namespace); got != want {
		g.t.Errorf("the grant %s: there is one: %v, want %v", which, got, want)
	}
}
