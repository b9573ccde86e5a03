// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

func TestRemove(t *testing.T) {
	c := newFakeCluster(t)
	install(t, c, planEnable(t, c, testRequest()))
	c.sync(t)
	grants := c.dynamic.Resource(rbacv1.SchemeGroupVersion.WithResource("rolebindings")).Namespace("ci")
	grant := &rbacv1.RoleBinding{
		TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ci", Name: manifests.TokenRequester, Labels: map[string]string{manifests.LabelPartOf: manifests.PartOf},
		},
	}
	object, err := object.From(grant)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grants.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	plan, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
	if err != nil {
		t.Fatal(err)
	}
	c.writes = nil
	// The typed client does not see what the dynamic one deletes: delete the settings there, too.
	c.dynamic.PrependReactor("delete", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return false, nil, c.kube.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"),
			testEnvironment.TektonNamespace, "config-signing")
	})
	var said []string
	tell := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if err := plan.Remove(t.Context(), c.Clients, time.Minute, tell); err != nil {
		t.Fatal(err)
	}
	inOrder(t, said, "deleted Deployment", "the add-on has stopped", "nothing is left")
	inOrder(t, c.writes, "mutatingwebhookconfigurations", "deployments", "rolebindings "+manifests.TokenRequester,
		"clusterrolebindings",
		"validatingadmissionpolicybindings", "validatingadmissionpolicies", "namespaces", "configmaps")
	grantsFirst(t, c.writes)
	again, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
	if err != nil || !again.Empty() {
		t.Errorf("after disable: got %v and %v, want nothing to do", changed(again), err)
	}
}

// grantsFirst wants every binding of a role deleted before the first policy, or binding of a policy, that limits
// its rights.
func grantsFirst(t *testing.T, writes []string) {
	t.Helper()
	fence := slices.IndexFunc(writes, func(w string) bool { return strings.Contains(w, "validatingadmissionpolic") })
	grants := 0
	for i, w := range writes {
		if !strings.Contains(w, "rolebindings ") {
			continue
		}
		grants++
		if i > fence {
			t.Errorf("%s came after %s", w, writes[fence])
		}
	}
	if fence < 0 || grants < 6 {
		t.Errorf("%d bindings of roles, and the first policy at %d: %q", grants, fence, writes)
	}
}

func TestRemoveWaitsForTheAddOn(t *testing.T) {
	running := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: manifests.Namespace, Name: "pod", Labels: map[string]string{manifests.LabelPartOf: manifests.PartOf},
	}}
	c := newFakeCluster(t, running)
	install(t, c, planEnable(t, c, testRequest()))
	c.sync(t)
	plan, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
	if err != nil {
		t.Fatal(err)
	}
	c.writes = nil
	err = plan.Remove(t.Context(), c.Clients, 30*time.Millisecond, silent)
	if !matches(err, "the add-on has stopped") {
		t.Errorf("got %v, want an error about the add-on that still runs", err)
	}
	for _, w := range c.writes {
		if strings.Contains(w, "polic") || strings.Contains(w, "rolebinding") {
			t.Errorf("%s, although the add-on still runs and would put grants back", w)
		}
	}
}

func TestDisableLeavesForeignSettings(t *testing.T) {
	foreign := configMap(map[string]string{"enforce-nonfalsifiability": "none"}, nil)
	foreign.Namespace = testEnvironment.TektonNamespace
	plan, err := PlanDisable(t.Context(), newFakeCluster(t, foreign).Clients, testEnvironment.TektonNamespace, false)
	if err != nil || !plan.Empty() {
		t.Errorf("got %q and %v, want nothing to do", changed(plan), err)
	}
}

// historyMap returns a ConfigMap of the trust history.
func historyMap() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: manifests.Namespace, Name: "tekton-sign-trust-1",
			Labels: map[string]string{manifests.LabelPartOf: manifests.PartOf},
		},
	}
}

// The namespace stays for the trust history, and nothing else of ours stays in it. A second run changes nothing,
// and purge removes the rest.
func TestDisableKeepsTheHistory(t *testing.T) {
	c := newFakeCluster(t, historyMap())
	install(t, c, planEnable(t, c, testRequest()))
	c.sync(t)
	plan, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
	if err != nil {
		t.Fatal(err)
	}
	c.writes = nil
	c.dynamic.PrependReactor("delete", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		name := a.(clienttesting.DeleteAction).GetName() //nolint:forcetypeassert // the reactor's verb
		configMaps := corev1.SchemeGroupVersion.WithResource("configmaps")
		return false, nil, c.kube.Tracker().Delete(configMaps, a.GetNamespace(), name)
	})
	if err := plan.Remove(t.Context(), c.Clients, time.Minute, silent); err != nil {
		t.Fatal(err)
	}
	inOrder(t, c.writes, "mutatingwebhookconfigurations", "deployments", "clusterroles", "services", "secrets",
		"serviceaccounts",
		"roles", "configmaps config-signing")
	grantsFirst(t, c.writes)
	for _, w := range c.writes {
		if strings.Contains(w, "namespaces") || strings.Contains(w, "tekton-sign-trust") {
			t.Errorf("%s: the history is lost with it", w)
		}
	}
	again, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
	if err != nil || !again.Empty() || again.Count(Keep) != 1 {
		t.Errorf("after disable: got %v and %v, want nothing to do and the history kept", changed(again), err)
	}
	purge, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, true)
	if err != nil || purge.Count(Delete) != 1 || purge.Changes[0].Object.GetKind() != "Namespace" {
		t.Errorf("purge: got %v and %v, want the namespace deleted", changed(purge), err)
	}
}

// Disable waits for objects that the garbage collector has not removed yet, and removes again what somebody has
// restored.
func TestDisableWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		deleted, stays bool
		err            string
	}{
		"being deleted": {
			true, false, "gave up waiting until nothing is left: PriorityClass tekton-sign and 0 more are being deleted",
		},
		"put back": {false, false, ""},
		"put back over and over": {
			false, true, "gave up waiting until nothing is left: PriorityClass tekton-sign was there again",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t)
			c.leave(t, tc.deleted)
			if tc.stays {
				c.dynamic.PrependReactor("delete", "priorityclasses",
					func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
			}
			patience := time.Minute
			if tc.err != "" {
				patience = 30 * time.Millisecond
			}
			if err := (Plan{}).Remove(t.Context(), c.Clients, patience, silent); !matches(err, tc.err) {
				t.Errorf("got %v, want %s", err, tc.err)
			}
		})
	}
}

// leave puts an object of ours in the cluster, which the garbage collector may be deleting.
func (c *fakeCluster) leave(t *testing.T, deleted bool) {
	t.Helper()
	left := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{
		Name: "tekton-sign", Labels: map[string]string{manifests.LabelPartOf: manifests.PartOf},
	}}
	left.SetGroupVersionKind(schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"))
	if deleted {
		left.DeletionTimestamp, left.Finalizers = &metav1.Time{Time: time.Now()}, []string{"foregroundDeletion"}
	}
	object, err := object.From(left)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.dynamic.Tracker().Add(object); err != nil {
		t.Fatal(err)
	}
}

// usersSettings returns a ConfigMap that the user had before enable, in Tekton's namespace.
func usersSettings(data map[string]string) *corev1.ConfigMap {
	cm := configMap(data, nil)
	cm.Namespace = testEnvironment.TektonNamespace
	return cm
}

// The user's ConfigMap stays, also if other objects of ours are left in the cluster.
func TestDisableNeverTouchesTheUsers(t *testing.T) {
	for name, deleted := range map[string]bool{"while ours is being deleted": true, "while ours is left": false} {
		for _, backend := range []string{"none", "oidc-sa-token"} {
			t.Run(name+", backend "+backend, func(t *testing.T) {
				c := newFakeCluster(t, usersSettings(map[string]string{settings.KeyBackend: backend, settings.KeyDelivery: "init"}))
				c.leave(t, deleted)
				plan, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
				if err != nil {
					t.Fatal(err)
				}
				for _, change := range plan.Changes {
					if object.IsSettings(change.Object) {
						t.Errorf("%s of the user's ConfigMap", change.Action)
					}
				}
				const warning = "has enforce-nonfalsifiability: oidc-sa-token"
				if warned := strings.Contains(strings.Join(texts(plan.Warnings), ""), warning); warned != (backend != "none") {
					t.Errorf("got warnings %q", plan.Warnings)
				}
			})
		}
	}
}

// Disable restores what enable recorded, also if somebody writes the ConfigMap at the same time, and keeps what
// they add.
func TestDisableRestores(t *testing.T) {
	const added = "_example"
	for name, tc := range map[string]struct {
		before *corev1.ConfigMap
		verb   string
		want   map[string]string
	}{
		"the user's": {
			usersSettings(map[string]string{settings.KeyDelivery: "init"}), "update",
			map[string]string{settings.KeyDelivery: "init", added: "new"},
		},
		"there was none": {nil, "delete", map[string]string{added: "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			live := enabled(t, tc.before)
			live.Namespace, live.ResourceVersion = testEnvironment.TektonNamespace, "1"
			live.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
			c := newFakeCluster(t, live)
			object, err := object.From(live)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.dynamic.Tracker().Add(object); err != nil {
				t.Fatal(err)
			}
			plan, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
			if err != nil || len(plan.Changes) != 1 {
				t.Fatalf("got %v and %v, want one change", changed(plan), err)
			}
			conflicted := false
			c.dynamic.PrependReactor(tc.verb, "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
				if conflicted {
					return false, nil, nil
				}
				conflicted = true
				live.Data[added], live.ResourceVersion = "new", "2"
				configMaps := corev1.SchemeGroupVersion.WithResource("configmaps")
				if err := c.kube.Tracker().Update(configMaps, live, live.Namespace); err != nil {
					t.Error(err)
				}
				return true, nil, apierrors.NewConflict(a.GetResource().GroupResource(), live.Name, errors.New("modified"))
			})
			r := remover{writer{Clients: c.Clients, progress: silent}, plan}
			if err := r.remove(t.Context(), plan.Changes[0]); err != nil {
				t.Fatal(err)
			}
			stored, err := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(live.Namespace).
				Get(t.Context(), live.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			data, _, _ := unstructured.NestedStringMap(stored.Object, "data")
			if diff := cmp.Diff(tc.want, data); diff != "" || !conflicted {
				t.Errorf("conflict: %v, data (-want +got):\n%s", conflicted, diff)
			}
		})
	}
}

// A ConfigMap that was changed after the plan was made is not deleted.
func TestDisableDeletesAsPlanned(t *testing.T) {
	live := enabled(t, nil)
	live.Namespace, live.ResourceVersion = testEnvironment.TektonNamespace, "7"
	c := newFakeCluster(t, live)
	plan, err := PlanDisable(t.Context(), c.Clients, testEnvironment.TektonNamespace, false)
	if err != nil || plan.Count(Delete) != 1 {
		t.Fatalf("got %v and %v, want the ConfigMap deleted", changed(plan), err)
	}
	if p := asPlanned(plan.Changes[0].Object); p == nil || *p.ResourceVersion != "7" {
		t.Errorf("got the precondition %v, want version 7", p)
	}
}
