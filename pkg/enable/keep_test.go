// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// liveWith returns ConfigMap config-signing with signing on and these keys.
func liveWith(data map[string]string) *corev1.ConfigMap {
	live := configMap(map[string]string{settings.KeyBackend: "oidc-sa-token"}, nil)
	live.Namespace = testEnvironment.TektonNamespace
	for k, v := range data {
		live.Data[k] = v
	}
	return live
}

// Each setting that the user did not name stays: running enable again weakens nothing.
func TestPlanKeepsSettings(t *testing.T) {
	live := liveWith(map[string]string{
		settings.KeyEnforcement: "enforce", settings.KeyPolicies: "strict", settings.KeyMinimumFormat: "v2",
		settings.KeyKeepMaterial: "true",
		settings.KeyGateChains:   "true", settings.KeyExemptAccounts: "ci/vault", settings.KeyAudience: "ours",
		settings.KeyDelivery:  "init",
		settings.KeyManagedBy: "kueue.x-k8s.io/multikueue", settings.KeyCustomRuns: "approvals/controller",
		settings.KeyPullSecrets: "mirror",
	})
	before, err := settings.Parse(live.Data)
	if err != nil {
		t.Fatal(err)
	}
	fresh := testRequest().Settings
	for name, tc := range map[string]struct {
		keep []string
		take func(s *settings.Settings)
	}{
		"enforcement": {
			[]string{settings.KeyEnforcement}, func(s *settings.Settings) { s.Enforcement = before.Enforcement },
		},
		"policies": {[]string{settings.KeyPolicies}, func(s *settings.Settings) { s.Policies = before.Policies }},
		"minimum format": {
			[]string{settings.KeyMinimumFormat}, func(s *settings.Settings) { s.MinimumFormat = before.MinimumFormat },
		},
		"material":   {[]string{settings.KeyKeepMaterial}, func(s *settings.Settings) { s.KeepMaterial = true }},
		"gate":       {[]string{settings.KeyGateChains}, func(s *settings.Settings) { s.GateChains = true }},
		"exempt":     {[]string{settings.KeyExemptAccounts}, func(s *settings.Settings) { s.Exempt = before.Exempt }},
		"managed by": {[]string{settings.KeyManagedBy}, func(s *settings.Settings) { s.ManagedBy = before.ManagedBy }},
		"custom runs": {
			[]string{settings.KeyCustomRuns}, func(s *settings.Settings) {
				s.CustomRunControllers = before.CustomRunControllers
			},
		},
		"pull secrets": {
			[]string{settings.KeyPullSecrets}, func(s *settings.Settings) { s.PullSecrets = before.PullSecrets },
		},
		"audience": {[]string{settings.KeyAudience}, func(s *settings.Settings) { s.Tokens.Audience = "ours" }},
		"none":     {nil, func(*settings.Settings) {}},
		"all": {keepAll(), func(s *settings.Settings) {
			*s = before
			s.Delivery = settings.DeliveryAuto
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := fresh
			tc.take(&want)
			r := testRequest()
			r.Keep = tc.keep
			if diff := cmp.Diff(want, planEnable(t, newFakeCluster(t, live.DeepCopy()), r).Settings); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

// keepAll are the keys that a user who names nothing keeps.
func keepAll() []string {
	var keys []string
	for _, f := range settings.Fields() {
		if f.Kept {
			keys = append(keys, f.Key)
		}
	}
	return keys
}

// enforcing returns a request for enforcement.
func enforcing(policies settings.Policies, kept bool) Request {
	r := testRequest()
	r.Settings.Enforcement, r.Settings.Policies = settings.Enforce, policies
	if kept {
		r.Keep = append(r.Keep, settings.KeyPolicies)
	}
	return r
}

// Weaker policies need the user's consent for enforcement.
func TestEnforceWithWeakerPolicies(t *testing.T) {
	for name, tc := range map[string]struct {
		live    map[string]string
		request Request
		err     string
		warning string
	}{
		"nothing said": {nil, enforcing(settings.PoliciesAuto, true), "", ""},
		"said now": {
			nil, enforcing(settings.PoliciesStandard, false), "", "enforced with policies standard",
		},
		"said once, for audit": {
			map[string]string{settings.KeyPolicies: "standard"}, enforcing("", true), "add --policies strict", "",
		},
		"said once, for enforce": {
			map[string]string{settings.KeyPolicies: "standard", settings.KeyEnforcement: "enforce"},
			enforcing("", true), "", "enforced with policies standard",
		},
		"strict, said once": {map[string]string{settings.KeyPolicies: "strict"}, enforcing("", true), "", ""},
		"enforcement is turned off": {
			map[string]string{settings.KeyEnforcement: "enforce"}, testRequest(), "", "not enforced any more",
		},
		"strict policies are given up": {
			map[string]string{settings.KeyPolicies: "strict"}, testRequest(), "", "fewer namespaces",
		},
		"enforcement of format v1": {nil, Request{Settings: func() settings.Settings {
			s := enforcing("", true).Settings
			s.Format, s.Binding = "v1", "key"
			return s
		}()}, "minimum-format", ""},
		"signing was off, with leavings": {
			map[string]string{settings.KeyBackend: "none", settings.KeyEnforcement: "enforce"}, testRequest(), "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var objects []runtime.Object
			if tc.live != nil {
				objects = append(objects, liveWith(tc.live))
			}
			plan, err := PlanEnable(t.Context(), newFakeCluster(t, objects...).Clients, testEnvironment, tc.request)
			if !matches(err, tc.err) {
				t.Fatalf("got error %v, want %q", err, tc.err)
			}
			got := strings.Join(texts(plan.Warnings), "\n")
			if (got == "") != (tc.warning == "") || !strings.Contains(got, tc.warning) {
				t.Errorf("got warnings %q, want %q", got, tc.warning)
			}
		})
	}
}

// A ConfigMap that cannot be parsed never becomes the defaults. The error shows what it holds, and the user has to
// name what it would decide.
func TestUnreadSettings(t *testing.T) {
	named := func(keys ...string) []string {
		keys = append(keys, settings.KeyEnforcement, settings.KeyPolicies)
		return slices.DeleteFunc(keepAll(), func(key string) bool { return slices.Contains(keys, key) })
	}
	broken := map[string]string{
		settings.KeyEnforcement: "enforce", settings.KeyPolicies: "strict",
		settings.KeyTokenSeconds: "soon", settings.KeyManagedBy: "a.b/c",
	}
	with := func(key, value string) map[string]string {
		data := map[string]string{key: value}
		for k, v := range broken {
			if _, ok := data[k]; !ok {
				data[k] = v
			}
		}
		return data
	}
	for name, tc := range map[string]struct {
		live map[string]string
		keep []string
		want []string // in the error; none: a plan
	}{
		"nothing named": {broken, keepAll(), []string{
			"add --enforcement, --policies. It holds", `signing-enforcement: "enforce"`, `policies: "strict"`,
			`oidc-token-expiration-seconds: "soon" (not valid)`, "cannot be read",
		}},
		"enforcement named": {
			broken, slices.DeleteFunc(keepAll(), func(key string) bool { return key == settings.KeyEnforcement }),
			[]string{"add --policies. It holds"},
		},
		"both named": {broken, named(), nil},
		"the enforcement itself": {
			with(settings.KeyEnforcement, "enforced"), keepAll(),
			[]string{"add --enforcement, --policies", `signing-enforcement: "enforced" (not valid)`},
		},
		"another that is kept": {
			with(settings.KeyMinimumFormat, "v3"), named(), []string{"add --minimum-format. It holds"},
		},
		"another, named":  {with(settings.KeyMinimumFormat, "v3"), named(settings.KeyMinimumFormat), nil},
		"exempt accounts": {with(settings.KeyExemptAccounts, "x"), named(), []string{"add --exempt-service-account"}},
		"keys that contradict": {
			map[string]string{settings.KeyNamespaces: "a", settings.KeyNamespaceSelector: "b"}, keepAll(),
			[]string{"add --enforcement, --policies", "got both"},
		},
		"a key of the future": {with("of-the-future", "x"), keepAll(), []string{"key of-the-future: unknown key"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := testRequest()
			r.Keep = tc.keep
			plan, err := PlanEnable(t.Context(), newFakeCluster(t, liveWith(tc.live)).Clients, testEnvironment, r)
			if len(tc.want) == 0 {
				if err != nil || len(plan.Settings.ManagedBy) != 1 {
					t.Fatalf("got %v and %v, want what can be read to be kept", plan.Settings.ManagedBy, err)
				}
				if !strings.Contains(strings.Join(texts(plan.Warnings), " "), "not enforced any more") {
					t.Errorf("got warnings %q, want the one that enforcement ends", plan.Warnings)
				}
			}
			for _, want := range tc.want {
				if !matches(err, want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

// runningPod returns the pod of a TaskRun with one step.
func runningPod(namespace, taskRun, command string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: taskRun + "-pod",
			Labels: map[string]string{pipeline.TaskRunLabelKey: taskRun}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "sidecar-x", Command: []string{tekton.Entrypoint}}, {Name: "step-a", Command: []string{command}},
		}},
	}
}

// A plan counts the TaskRuns that run unsigned in the namespaces in which enforcement is turned on.
func TestPlanCountsWhatWillFail(t *testing.T) {
	namespace := func(name, mode string) *corev1.Namespace {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name,
			Labels: map[string]string{"kubernetes.io/metadata.name": name}}}
		if mode != "" {
			ns.Labels[settings.LabelEnforcement] = mode
		}
		return ns
	}
	objects := []runtime.Object{
		namespace("ci", ""), namespace("tests", "audit"), namespace("release", "enforce"), namespace("kube-system", ""),
		runningPod("ci", "a", tekton.Entrypoint), runningPod("ci", "b", tekton.Entrypoint),
		runningPod("ci", "signed", step.ImagePath),
		runningPod("ci", "c", tekton.Entrypoint), runningPod("ci", "d", tekton.Entrypoint),
		runningPod("tests", "e", tekton.Entrypoint), runningPod("release", "f", tekton.Entrypoint),
		runningPod("kube-system", "g", tekton.Entrypoint),
	}
	on := liveWith(nil)
	for name, tc := range map[string]struct {
		live *corev1.ConfigMap
		want string
	}{
		"from audit": {
			on, "TaskRuns that run in pods which do not sign, in namespaces whose results are enforced from now on, will " +
				"fail: 4. The first are ci/a, ci/b, ci/c",
		},
		"from nothing":    {nil, "will fail: 5. "},
		"enforced before": {liveWith(map[string]string{settings.KeyEnforcement: "enforce"}), ""},
		"one namespace only": {
			liveWith(map[string]string{settings.KeyEnforcement: "enforce", settings.KeyNamespaces: "ci"}),
			"TaskRuns that run in pods which do not sign, in namespaces whose results are enforced from now on, will fail: 1. " +
				"These are release/f",
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := objects
			if tc.live != nil {
				all = append([]runtime.Object{tc.live.DeepCopy()}, objects...)
			}
			c := newFakeCluster(t, all...)
			got := strings.Join(texts(planEnable(t, c, enforcing("", true)).Warnings), "\n")
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	c := newFakeCluster(t, append([]runtime.Object{on.DeepCopy()}, objects...)...)
	c.kube.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	})
	if got := planEnable(t, c, enforcing("", true)).Warnings; len(got) != 1 ||
		!strings.Contains(got[0].Text, "They were not counted") {
		t.Errorf("without the right to list pods: got %q", got)
	}
}

// An API server may use the policy of an older version for a short time.
func TestSettingsAreWrittenPatiently(t *testing.T) {
	c := newFakeCluster(t)
	plan := planEnable(t, c, testRequest())
	refusals := 0
	c.dynamic.PrependReactor("patch", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if patch, ok := action.(clienttesting.PatchAction); !ok || patch.GetName() != settings.ConfigMapName {
			return false, nil, nil
		}
		if refusals++; refusals > 2 {
			return false, nil, nil
		}
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, settings.ConfigMapName,
			errorText("ValidatingAdmissionPolicy 'tekton-sign-settings' with binding 'tekton-sign-settings' denied request: "+
				"unknown"))
	})
	install(t, c, plan)
	if refusals != 3 {
		t.Errorf("the settings were tried %d times, want 3", refusals)
	}
}

type errorText string

func (e errorText) Error() string { return string(e) }
