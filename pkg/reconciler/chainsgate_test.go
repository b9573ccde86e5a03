// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
)

// gateCluster is a cluster with the gate on in namespace ci, and a gate for one resource in it that leads.
type gateCluster struct {
	client *dynamicfake.FakeDynamicClient
	kube   *kubefake.Clientset
	gate   *ChainsGate
}

func newGateCluster(t *testing.T, resource string, objects ...runtime.Object) *gateCluster {
	t.Helper()
	data := map[string]string{"enforce-nonfalsifiability": "oidc-sa-token", "gate-chains": "true",
		"namespaces": "ci,leaving"}
	kube := kubefake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tekton-pipelines", Name: "config-signing"}, Data: data,
	})
	lists := map[schema.GroupVersionResource]string{
		tektonResource(TaskRuns): "TaskRunList", tektonResource(PipelineRuns): "PipelineRunList",
	}
	c := &gateCluster{kube: kube, client: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		lists, objects...)}
	log := zap.NewNop().Sugar()
	s := NewSettings(kube, "tekton-pipelines", log)
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	leaving := namespaceMetadata("leaving")
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	namespaces := NewNamespaces(metadatafake.NewSimpleMetadataClient(scheme, namespaceMetadata("ci"),
		namespaceMetadata("elsewhere"), leaving), s, "tekton-pipelines")
	c.gate = NewChainsGate(ChainsGateConfig{
		Client: c.client, Settings: s, Namespaces: namespaces, Resource: resource, Log: log, Now: time.Now,
		Proves: func(_ context.Context, u *unstructured.Unstructured) bool {
			return !strings.HasPrefix(u.GetName(), "forged")
		},
	})
	queue := controller.NewContext(t.Context(), c.gate, controller.ControllerOptions{WorkQueueName: resource, Logger: log})
	c.gate.Start(t.Context(), queue)
	go s.Run(t.Context())
	go namespaces.Run(t.Context())
	if err := c.gate.Promote(pkgreconciler.UniversalBucket(),
		func(pkgreconciler.Bucket, types.NamespacedName) {}); err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := queue.RunContext(t.Context(), 1); err != nil {
			t.Error(err)
		}
	}()
	return c
}

func namespaceMetadata(name string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/metadata.name": name}},
	}
}

// heldRun is a held object; its UID is its name.
func heldRun(kind, namespace, name string, conditions ...any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
		"results": []any{map[string]any{"name": "a"}}, "conditions": conditions,
	}}}
	u.SetAPIVersion("tekton.dev/v1")
	u.SetKind(kind)
	u.SetNamespace(namespace)
	u.SetName(name)
	u.SetUID(types.UID(name))
	u.SetAnnotations(map[string]string{chains.Hold: chains.HoldValue, chains.Marker: name + ": held"})
	u.SetFinalizers([]string{chains.Finalizer})
	return u
}

func ownedBy(u *unstructured.Unstructured, pipelineRun string) {
	yes := true
	u.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: pipelineRun, UID: types.UID(pipelineRun), Controller: &yes,
	}})
}

func conditionOf(kind, status string) any { return map[string]any{"type": kind, "status": status} }

var (
	succeeded = conditionOf("Succeeded", "True")
	verified  = conditionOf("SignedResultsVerified", "True")
	failed    = conditionOf("SignedResultsVerified", "False")
)

// unheld is a TaskRun that runs and is not held.
func unheld(name, manager string) *unstructured.Unstructured {
	u := heldRun("TaskRun", "ci", name)
	u.SetAnnotations(nil)
	u.SetFinalizers(nil)
	if manager != "" {
		u.Object["spec"] = map[string]any{"managedBy": manager}
	}
	return u
}

// await waits until the marker of an object says this; empty: until it has none.
func (c *gateCluster) await(t *testing.T, resource, namespace, name, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		u, err := c.client.Resource(tektonResource(resource)).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got = u.GetAnnotations()[chains.Marker]; got == want {
			return
		}
	}
	t.Errorf("%s %s: the marker is %q, want %q", resource, name, got, want)
}

func TestChainsGateTaskRuns(t *testing.T) {
	c := newGateCluster(t, TaskRuns,
		heldRun("TaskRun", "ci", "good", succeeded, verified),
		heldRun("TaskRun", "ci", "bad", succeeded, failed),
		heldRun("TaskRun", "ci", "late", succeeded),
		heldRun("TaskRun", "ci", "running"),
		heldRun("TaskRun", "ci", "forged", succeeded, verified),
		heldRun("TaskRun", "ci", "forged-bad", succeeded, failed),
		unheld("missed", ""), unheld("others", "other.example/x"),
		heldRun("TaskRun", "elsewhere", "strange"),
		heldRun("TaskRun", "leaving", "left", succeeded),
		heldRun("TaskRun", "leaving", "leaving", succeeded, verified),
	)
	c.await(t, TaskRuns, "ci", "good", "good: released")
	c.await(t, TaskRuns, "ci", "bad", "bad: refused, SignedResultsVerified is False")
	c.await(t, TaskRuns, "elsewhere", "strange", "")
	c.await(t, TaskRuns, "leaving", "leaving", "leaving: released")
	c.await(t, TaskRuns, "leaving", "left", "left: held") // Chains does not get it for the namespace's deletion
	c.await(t, TaskRuns, "ci", "late", "late: held")
	c.await(t, TaskRuns, "ci", "forged", "forged: held")         // nothing proves that the add-on said so
	c.await(t, TaskRuns, "ci", "forged-bad", "forged-bad: held") // nor that it did not
	c.await(t, TaskRuns, "ci", "missed", "missed: held")         // the webhook was not called
	c.await(t, TaskRuns, "ci", "others", "")
	c.await(t, TaskRuns, "ci", "running", "running: held")

	late := heldRun("TaskRun", "ci", "late", succeeded, verified)
	if _, err := c.client.Resource(tektonResource(TaskRuns)).Namespace("ci").Update(t.Context(), late,
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.await(t, TaskRuns, "ci", "late", "late: released")

	cm, err := c.kube.CoreV1().ConfigMaps("tekton-pipelines").Get(t.Context(), "config-signing", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delete(cm.Data, "gate-chains")
	if _, err := c.kube.CoreV1().ConfigMaps("tekton-pipelines").Update(t.Context(), cm,
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.await(t, TaskRuns, "ci", "running", "")
	c.await(t, TaskRuns, "ci", "bad", "bad: refused, SignedResultsVerified is False")
}

func TestChainsGatePipelineRuns(t *testing.T) {
	labelled := func(name, of string, conditions ...any) *unstructured.Unstructured {
		u := heldRun("TaskRun", "ci", name, conditions...)
		u.SetLabels(map[string]string{pipeline.PipelineRunUIDLabelKey: of})
		return u
	}
	child := func(name, of string, conditions ...any) *unstructured.Unstructured {
		u := labelled(name, of, conditions...)
		ownedBy(u, of)
		return u
	}
	bare := child("bare-a", "bare", succeeded, verified)
	bare.SetLabels(nil)
	parent := func(name, child string) *unstructured.Unstructured {
		u := heldRun("PipelineRun", "ci", name, succeeded)
		u.Object["status"].(map[string]any)["childReferences"] = []any{ //nolint:forcetypeassert // as made by heldRun
			map[string]any{"kind": "TaskRun", "name": child},
		}
		return u
	}
	c := newGateCluster(t, PipelineRuns,
		parent("good", "good-a"), child("good-a", "good", succeeded, verified), child("good-b", "good", succeeded, verified),
		parent("bad", "bad-a"), child("bad-a", "bad", succeeded, failed),
		parent("hidden", "hidden-a"), child("hidden-a", "hidden", succeeded, verified),
		child("hidden-b", "hidden", succeeded, failed),
		parent("poisoned", "poisoned-a"), child("poisoned-a", "poisoned", succeeded, verified),
		labelled("strange", "poisoned", succeeded, failed),
		parent("redirected", "foreign"), labelled("foreign", "redirected", succeeded, verified),
		parent("claimed", "forged-a"), child("forged-a", "claimed", succeeded, verified),
		parent("bare", "bare-a"), bare,
		parent("lost", "lost-a"),
		parent("waiting", "waiting-a"), child("waiting-a", "waiting", succeeded),
		heldRun("PipelineRun", "ci", "running"),
	)
	c.await(t, PipelineRuns, "ci", "good", "good: released")
	c.await(t, PipelineRuns, "ci", "bad", "bad: refused, of TaskRun bad-a: SignedResultsVerified is False")
	c.await(t, PipelineRuns, "ci", "lost", "lost: refused, one of its TaskRuns is gone, or not its own")
	c.await(t, PipelineRuns, "ci", "poisoned", "poisoned: released")
	c.await(t, PipelineRuns, "ci", "bare", "bare: released")
	c.await(t, PipelineRuns, "ci", "redirected", "redirected: refused, one of its TaskRuns is gone, or not its own")
	c.await(t, PipelineRuns, "ci", "hidden", "hidden: held") // until it is verified, or gone
	c.await(t, PipelineRuns, "ci", "claimed", "claimed: held")
	c.await(t, PipelineRuns, "ci", "waiting", "waiting: held")
	c.await(t, PipelineRuns, "ci", "running", "running: held")

	// What makes it good is no change of the PipelineRun itself.
	late := child("waiting-a", "waiting", succeeded, verified)
	if _, err := c.client.Resource(tektonResource(TaskRuns)).Namespace("ci").Update(t.Context(), late,
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	err := c.gate.Reconcile(t.Context(), "ci/waiting")
	if err != nil {
		t.Fatal(err)
	}
	c.await(t, PipelineRuns, "ci", "waiting", "waiting: released")
}

// TestChainsGateLooksAgain while a completed PipelineRun waits, and does nothing where another replica leads.
func TestChainsGateLooksAgain(t *testing.T) {
	c := newGateCluster(t, PipelineRuns, heldRun("PipelineRun", "ci", "waiting", succeeded),
		func() runtime.Object {
			u := heldRun("TaskRun", "ci", "child", succeeded)
			u.SetLabels(map[string]string{pipeline.PipelineRunUIDLabelKey: "waiting"})
			ownedBy(u, "waiting")
			return u
		}())
	for !c.gate.Settings.HasSynced() || !c.gate.Namespaces.HasSynced() {
		time.Sleep(10 * time.Millisecond)
	}
	again, d := controller.IsRequeueKey(c.gate.Reconcile(t.Context(), "ci/waiting"))
	if !again || d != gatePoll {
		t.Errorf("got again %v after %v, want true after %v", again, d, gatePoll)
	}
	c.gate.Demote(pkgreconciler.UniversalBucket())
	if err := c.gate.Reconcile(t.Context(), "ci/waiting"); !controller.IsSkipKey(err) {
		t.Errorf("not leading: got %v, want the key to be skipped", err)
	}
	if pause(canceled(), time.Hour, nil) {
		t.Error("a pause goes on after its context has ended")
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
