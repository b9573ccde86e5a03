// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
)

// gateRole returns the ClusterRole of the gate.
func gateRole(on bool) *rbacv1.ClusterRole {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: manifests.ChainsGate}}
	if on {
		role.Rules = []rbacv1.PolicyRule{{APIGroups: []string{"tekton.dev"}}}
	}
	return role
}

// gatedRun returns an object in a state of the gate. Its UID is its name.
func gatedRun(kind, name string, state chains.State) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("tekton.dev/v1")
	u.SetKind(kind)
	u.SetNamespace("ci")
	u.SetName(name)
	u.SetUID(types.UID(name))
	u.SetFinalizers([]string{"other", chains.Finalizer})
	switch state {
	case chains.Held, chains.Refused:
		u.SetAnnotations(map[string]string{
			"a": "b", chains.Hold: chains.HoldValue, chains.Marker: name + ": " + string(state),
		})
	case chains.Released:
		u.SetAnnotations(map[string]string{"a": "b", chains.Marker: name + ": released"})
	case chains.None:
		u.SetFinalizers([]string{"other"})
	}
	return u
}

func heldCluster(objects ...runtime.Object) (Clients, *dynamicfake.FakeDynamicClient) {
	lists := map[schema.GroupVersionResource]string{}
	for _, kind := range heldKinds() {
		lists[object.GVR(kindOf(kind))] = kind.Kind + "List"
	}
	fake := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...)
	return Clients{Dynamic: fake}, fake
}

func kindOf(kind schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	return u
}

func TestLift(t *testing.T) {
	c, fake := heldCluster(
		gatedRun("TaskRun", "held", chains.Held), gatedRun("TaskRun", "released", chains.Released),
		gatedRun("TaskRun", "refused", chains.Refused), gatedRun("TaskRun", "none", chains.None),
		gatedRun("PipelineRun", "pipeline", chains.Held),
	)
	refusals := 0
	fake.PrependReactor("patch", "taskruns", func(clienttesting.Action) (bool, runtime.Object, error) {
		if refusals++; refusals > 2 {
			return false, nil, nil
		}
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "taskruns"}, "x",
			errors.New("ValidatingAdmissionPolicy 'tekton-sign-chains' with binding 'tekton-sign-chains' denied request: held"))
	})
	for _, change := range liftChanges() {
		if err := (writer{Clients: c, dryRun: true, progress: silent}).make(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if n := len(fake.Actions()); n > 0 && change.Object.GetKind() == "TaskRun" {
			t.Errorf("a dry run made %d requests", n)
		}
		if err := (writer{Clients: c, dryRun: false, progress: silent}).make(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for _, kind := range heldKinds() {
		list, err := fake.Resource(object.GVR(kindOf(kind))).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Items {
			got[u.GetName()] = fmt.Sprint(u.GetAnnotations(), u.GetFinalizers())
		}
	}
	want := map[string]string{
		"held":     "map[a:b] [other]",
		"released": "map[a:b tekton-sign.dev/chains:released: released] [other]",
		"refused":  "map[a:b chains.tekton.dev/signed:failed tekton-sign.dev/chains:refused: refused] [other]",
		"none":     "map[] [other]",
		"pipeline": "map[a:b] [other]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after lifting (-want +got):\n%s", diff)
	}
}

func TestLiftFails(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "taskruns"}, "held", errors.New("no such right"))
	policy := errors.New("ValidatingAdmissionPolicy 'tekton-sign-chains' denied request")
	for want, err := range map[string]error{
		"no such right": forbidden, "gave up lifting the hold of TaskRun ci/held": policy,
	} {
		c, fake := heldCluster(gatedRun("TaskRun", "held", chains.Held))
		fake.PrependReactor("patch", "taskruns", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, err
		})
		plan := Plan{Changes: liftChanges()}
		got := plan.Remove(t.Context(), c, 50*time.Millisecond, silent)
		if got == nil || !strings.Contains(got.Error(), want) {
			t.Errorf("got %v, want an error with %q", got, want)
		}
	}
}

// Where Tekton is gone, nothing is held.
func TestLiftOfNothing(t *testing.T) {
	c, fake := heldCluster()
	fake.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "taskruns"}, "")
	})
	for _, change := range liftChanges() {
		if err := (writer{Clients: c, dryRun: false, progress: silent}).make(t.Context(), change); err != nil {
			t.Error(err)
		}
	}
}

// A plan explains what the gate does. When the gate is turned off, its holds are lifted after the settings were
// changed and before the role that shows them; disable lifts them after the policy that guards them is gone.
func TestPlanGate(t *testing.T) {
	on := testRequest()
	on.Settings.GateChains = true
	c := newFakeCluster(t)
	plan := planEnable(t, c, on)
	var text bytes.Buffer
	if err := plan.WriteText(&text, func(s string) string { return s }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{noteGate, "gate-chains: (absent) -> true"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the plan does not say %q:\n%s", want, text.String())
		}
	}
	install(t, c, plan)
	c.sync(t)

	if err := c.kube.Tracker().Add(gateRole(true)); err != nil {
		t.Fatal(err)
	}
	off := planEnable(t, c, testRequest())
	inOrder(t, all(off), "ConfigMap", "lift TaskRun", "lift PipelineRun", "ClusterRole "+manifests.ChainsGate)
	if off.Empty() {
		t.Error("a plan that lifts holds is said to be empty")
	}
	away, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, all(away), "delete ValidatingAdmissionPolicy "+manifests.ChainsGate, "lift TaskRun", "lift PipelineRun",
		"delete ClusterRole "+manifests.ChainsGate, "ConfigMap")

	if again := planEnable(t, c, on); again.Count(Lift) > 0 {
		t.Error("a plan with the gate on lifts holds")
	}
	clusterRoles := rbacv1.SchemeGroupVersion.WithResource("clusterroles")
	if err := c.kube.Tracker().Update(clusterRoles, gateRole(false), ""); err != nil {
		t.Fatal(err)
	}
	if never := planEnable(t, c, testRequest()); never.Count(Lift) > 0 {
		t.Error("a plan lifts holds where the gate was never on")
	}
}

func all(p Plan) []string {
	lines := make([]string, len(p.Changes))
	for i, change := range p.Changes {
		lines[i] = string(change.Action) + " " + object.Describe(change.Object)
	}
	return lines
}

func TestLiftNeeds(t *testing.T) {
	var got []string
	for _, change := range liftChanges() {
		for _, a := range neededFor(change) {
			got = append(got, describePermission(a))
		}
	}
	want := []string{
		"list taskruns.tekton.dev", "patch taskruns.tekton.dev",
		"list pipelineruns.tekton.dev", "patch pipelineruns.tekton.dev",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	namespaced := func(a authorizationv1.ResourceAttributes) bool { return a.Namespace != "" }
	if slices.ContainsFunc(neededFor(liftChanges()[0]), namespaced) {
		t.Error("a right in one namespace is not enough")
	}
}
