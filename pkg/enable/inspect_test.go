// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

func TestInspect(t *testing.T) {
	events := enabletest.TektonController("elsewhere")
	events.Labels["app.kubernetes.io/component"] = "events"
	for name, tc := range map[string]struct {
		objects []runtime.Object
		choice  string
		want    string // namespace
		err     string
	}{
		"usual namespace": {
			[]runtime.Object{enabletest.TektonController("tekton-pipelines")}, "", "tekton-pipelines", "",
		},
		"another namespace": {
			[]runtime.Object{enabletest.TektonController("openshift-pipelines")}, "", "openshift-pipelines", "",
		},
		"not the events part": {[]runtime.Object{enabletest.TektonController("a"), events}, "", "a", ""},
		"a StatefulSet":       {[]runtime.Object{enabletest.StatefulTekton("a", 3)}, "", "a", ""},
		"pods of some kind": {
			[]runtime.Object{enabletest.TektonPod("a", "x"), enabletest.TektonPod("a", "y")}, "", "a", "",
		},
		"both, while it moves": {
			[]runtime.Object{enabletest.TektonController("a"), enabletest.StatefulTekton("a", 3)}, "", "a", "",
		},
		"the one that runs": {
			[]runtime.Object{enabletest.TektonController("a"), enabletest.StatefulTekton("b", 0)}, "", "a", "",
		},
		"chosen, at rest": {
			[]runtime.Object{enabletest.TektonController("a"), enabletest.StatefulTekton("b", 0)}, "b", "b", "",
		},
		"alone, at rest": {[]runtime.Object{enabletest.StatefulTekton("b", 0)}, "", "b", ""},
		"two of two kinds": {
			[]runtime.Object{enabletest.TektonController("a"), enabletest.StatefulTekton("b", 1)}, "", "",
			"Deployment a/tekton-pipelines-controller, StatefulSet b/tekton-pipelines-controller",
		},
		"none": {nil, "", "", "no Tekton Pipelines in this cluster"},
		"none there": {
			[]runtime.Object{enabletest.TektonController("a")}, "b", "", "no Tekton Pipelines in namespace b",
		},
		"two": {
			[]runtime.Object{enabletest.TektonController("a"), enabletest.TektonController("b")}, "", "",
			"choose one with --tekton-namespace",
		},
		"one of two": {
			[]runtime.Object{enabletest.TektonController("a"), enabletest.TektonController("b")}, "b", "b", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Inspect(t.Context(), newFakeCluster(t, tc.objects...).Kube, tc.choice)
			if !matches(err, tc.err) {
				t.Fatalf("got error %v, want %q", err, tc.err)
			}
			want := Environment{
				KubernetesVersion: "v1.35.4", TektonNamespace: tc.want, TektonVersion: "v1.15.0",
				TektonAccount: "the-controller", OthersSeen: true,
			}
			got.Others = nil // see TestOtherControllers
			if diff := cmp.Diff(want, got); tc.err == "" && diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInspectTooOld(t *testing.T) {
	c := newFakeCluster(t, enabletest.TektonController("tekton-pipelines"))
	discovery, _ := c.kube.Discovery().(*fakediscovery.FakeDiscovery)
	discovery.FakedServerVersion = &version.Info{GitVersion: "v1.29.9"}
	discovery.Resources[0].APIResources = []metav1.APIResource{{Kind: "MutatingWebhookConfiguration"}}
	_, err := Inspect(t.Context(), c.Kube, "")
	for _, want := range []string{"ValidatingAdmissionPolicy", "1.30", "v1.29.9", "upgrade"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestInspectForbidden(t *testing.T) {
	c := newFakeCluster(t)
	c.kube.PrependReactor("list", "deployments", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "deployments"}, "", errors.New("no"))
	})
	if _, err := Inspect(t.Context(), c.Kube, ""); !IsForbidden(err) {
		t.Errorf("got %v, want an error that is recognised as a missing permission", err)
	}
}

// matches reports whether err holds text, or is nil if text is empty.
func matches(err error, text string) bool {
	if text == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), text)
}

// A second controller is refused where it runs TaskRuns in the namespaces in scope, and nowhere else.
func TestOtherControllers(t *testing.T) {
	const refused = "more than one controller of Tekton"
	for name, tc := range map[string]struct {
		other runtime.Object
		scope settings.Scope
		want  string
	}{
		"of all namespaces": {
			enabletest.Tenant(), settings.Scope{}, "Deployment b/tekton-pipelines-controller " +
				"(service account tenants, runs the TaskRuns of all namespaces)",
		},
		"of all, and some in scope": {enabletest.Tenant(), settings.Scope{Names: []string{"ci"}}, refused},
		"of one, and all in scope": {
			enabletest.Tenant("-namespace", "team"), settings.Scope{}, "runs the TaskRuns of namespace team",
		},
		"of one that is in scope": {
			enabletest.Tenant("--namespace=team"), settings.Scope{Names: []string{"team"}}, refused,
		},
		"of one that is not":         {enabletest.Tenant("-namespace=team"), settings.Scope{Names: []string{"ci"}}, ""},
		"of one with the labels":     {enabletest.Tenant("-namespace=team"), settings.Scope{Selector: "sign=yes"}, refused},
		"of one without the labels":  {enabletest.Tenant("-namespace=else"), settings.Scope{Selector: "sign=yes"}, ""},
		"of one that does not exist": {enabletest.Tenant("-namespace=gone"), settings.Scope{}, refused},
		"an empty flag":              {enabletest.Tenant("-namespace="), settings.Scope{Names: []string{"ci"}}, refused},
		"another flag": {
			enabletest.Tenant("-kube-namespace=team"), settings.Scope{Names: []string{"ci"}}, refused,
		},
		"at rest":                     {enabletest.StatefulTekton("b", 0), settings.Scope{}, ""},
		"none":                        {enabletest.Namespace("x", nil), settings.Scope{}, ""},
		"of the chosen one's account": {enabletest.StatefulTekton("a", 2), settings.Scope{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, enabletest.TektonController("a"), tc.other, enabletest.Namespace("else", nil),
				enabletest.Namespace("team", map[string]string{"sign": "yes"}))
			environment, err := Inspect(t.Context(), c.Kube, "a")
			if err != nil {
				t.Fatal(err)
			}
			r := testRequest()
			r.Settings.Scope = tc.scope
			plan, err := PlanEnable(t.Context(), c.Clients, environment, r)
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.CheckObstacles(); !matches(err, tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// TestConflictIsShort: what is found is listed within bounds, and the advice is not behind it in what status shows.
func TestConflictIsShort(t *testing.T) {
	many := make([]Controller, 9)
	for i := range many {
		many[i] = Controller{Kind: "Deployment", Namespace: "tenant", Name: "tekton-pipelines-controller", Account: "tenants"}
	}
	got := Conflict("tekton-pipelines", many)
	if !strings.HasSuffix(got, " and 6 more") || strings.Contains(got, "--namespaces") {
		t.Errorf("got %s", got)
	}
	if got := ConflictText("tekton-pipelines", many); !strings.HasSuffix(got, ConflictAdvice) {
		t.Errorf("got %s", got)
	}
}

// A user who may not search for other controllers gets a warning that explains the consequences.
func TestOtherControllersUnseen(t *testing.T) {
	c := newFakeCluster(t, enabletest.TektonController("a"))
	c.kube.PrependReactor("list", "statefulsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "statefulsets"}, "", errors.New("no"))
	})
	environment, err := Inspect(t.Context(), c.Kube, "")
	if err != nil || environment.TektonNamespace != "a" {
		t.Fatalf("got %+v and %v, want the Deployment found all the same", environment, err)
	}
	plan, err := PlanEnable(t.Context(), c.Clients, environment, testRequest())
	const unseen = "no other controller of Tekton was looked for"
	if err != nil || !strings.Contains(strings.Join(texts(plan.Warnings), "\n"), unseen) {
		t.Errorf("got warnings %q and %v", plan.Warnings, err)
	}
}
