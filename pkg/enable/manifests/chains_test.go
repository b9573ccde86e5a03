// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/chains"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

func gated(on bool) Options {
	o := testOptions()
	o.Settings.GateChains = on
	return o
}

// While the gate is off, its policy and webhooks match nothing, and the add-on has none of the rights for it.
func TestChainsGateIsOptional(t *testing.T) {
	for _, on := range []bool{false, true} {
		objects := render(t, gated(on))
		binding := find[*admissionv1.ValidatingAdmissionPolicyBinding](t, objects, ChainsGate)
		selectors := map[string]*metav1.LabelSelector{
			"policy": binding.Spec.MatchResources.NamespaceSelector,
		}
		for _, w := range find[*admissionv1.MutatingWebhookConfiguration](t, objects, ChainsGate).Webhooks {
			selectors[w.Name] = w.NamespaceSelector
		}
		if len(selectors) != 4 {
			t.Errorf("got selectors %v, want those of the policy and of three webhooks", selectors)
		}
		for name, selector := range selectors {
			parsed, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil {
				t.Fatal(err)
			}
			ci := labels.Set{"kubernetes.io/metadata.name": "ci"}
			if got, want := parsed.Matches(ci), on && name != ChainsEnforce; got != want {
				t.Errorf("gate %v: %s matches a namespace in scope: got %v, want %v", on, name, got, want)
			}
			if parsed.Matches(labels.Set{"kubernetes.io/metadata.name": "elsewhere"}) ||
				parsed.Matches(labels.Set{"kubernetes.io/metadata.name": "kube-system"}) {
				t.Errorf("gate %v: %s matches a namespace out of scope", on, name)
			}
		}
		want := []rbacv1.PolicyRule{{
			APIGroups: []string{"tekton.dev"}, Resources: []string{"taskruns", "pipelineruns"},
			Verbs: []string{"get", "list", "watch", "patch"},
		}}
		if !on {
			want = nil
		}
		if diff := cmp.Diff(want, find[*rbacv1.ClusterRole](t, objects, ChainsGate).Rules); diff != "" {
			t.Errorf("gate %v: rules of the add-on (-want +got):\n%s", on, diff)
		}
	}
}

// The manifests contain the names that package chains writes.
func TestChainsManifestNames(t *testing.T) {
	objects := render(t, gated(true))
	policy, err := json.Marshal(find[*admissionv1.ValidatingAdmissionPolicy](t, objects, ChainsGate))
	if err != nil {
		t.Fatal(err)
	}
	webhooks, err := json.Marshal(find[*admissionv1.MutatingWebhookConfiguration](t, objects, ChainsGate))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{chains.Hold, chains.HoldValue, chains.Marker, string(chains.Held)} {
		if !strings.Contains(string(policy), "'"+name+"'") ||
			(!strings.Contains(string(webhooks), "'"+name+"'") && name != string(chains.Held)) {
			t.Errorf("%q is not in the policy and the webhooks", name)
		}
	}
	for _, name := range []string{chains.Finalizer, string(chains.Released)} {
		if !strings.Contains(string(policy), "'"+name+"'") {
			t.Errorf("%q is not in the policy", name)
		}
	}
}

// metadata returns the metadata of a TaskRun in JSON, with a marker and a hold, "" for none.
func metadata(mark, hold string, finalizers ...string) string {
	annotations := map[string]string{"other": "x"}
	if mark != "" {
		annotations[chains.Marker] = mark
	}
	if hold != "" {
		annotations[chains.Hold] = hold
	}
	m := map[string]any{"uid": "u", "annotations": annotations}
	if finalizers != nil {
		m["finalizers"] = finalizers
	}
	text, _ := json.Marshal(map[string]any{"metadata": m, "spec": map[string]any{}})
	return string(text)
}

const bare = `{"metadata":{"uid":"u"},"spec":{}}`

// Only the add-on can take an object out of the gate.
func TestChainsPolicy(t *testing.T) {
	const mine, theirs = "tekton-sign.dev/chains", "chains.tekton.dev/taskrun"
	const addOn = "system:serviceaccount:tekton-sign:controller"
	held, released := metadata("u: held", "failed", mine), metadata("u: released", "", mine)
	refused := metadata("u: refused, bad", "failed")
	for name, c := range map[string]struct {
		old, new string
		user     string // empty: anybody
		message  string // a part of it; empty: allowed
	}{
		"an object without anything": {bare, bare, "", ""},
		"the webhook's hold":         {bare, held, "", ""},
		"a hold of somebody":         {bare, metadata("", "failed"), "", ""},
		"a marker of another object": {bare, metadata("other: held", ""), "", ""},
		"that marker taken away":     {metadata("other: held", ""), bare, "", ""},
		"the hold over that marker":  {metadata("other: held", ""), held, "", ""},
		"Chains' finalizer":          {held, metadata("u: held", "failed", mine, theirs), "", ""},
		"garbage collection":         {metadata("u: held", "failed", mine, "foregroundDeletion"), held, "", ""},
		"Chains attests":             {released, metadata("u: released", "true", mine), "", ""},
		"Chains fails":               {released, metadata("u: released", "failed", mine), "", ""},
		"held again":                 {released, held, "", ""},
		"the add-on releases":        {held, released, addOn, ""},
		"the add-on refuses":         {held, refused, addOn, ""},
		"the add-on withdraws":       {held, bare, addOn, ""},

		"a marker made by hand":       {bare, metadata("u: released", ""), "", "the gate's"},
		"a marker without the hold":   {bare, metadata("u: held", ""), "", "the gate's"},
		"released by hand":            {held, released, "", "the gate's"},
		"refused by hand":             {held, refused, "", "the gate's"},
		"the marker taken away":       {held, metadata("", "failed", mine), "", "the gate's"},
		"the marker of another":       {held, metadata("other: held", "failed", mine), "", "the gate's"},
		"the hold taken away":         {held, metadata("u: held", "", mine), "", "changes chains.tekton.dev/signed"},
		"the hold changed":            {held, metadata("u: held", "true", mine), "", "changes chains.tekton.dev/signed"},
		"the finalizer taken away":    {held, metadata("u: held", "failed"), "", "takes the finalizer"},
		"all of it taken away":        {held, bare, "", "the gate's"},
		"refused, the hold away":      {refused, metadata("u: refused, bad", ""), "", "changes chains.tekton.dev/signed"},
		"refused, released by hand":   {refused, metadata("u: released", "failed"), "", "the gate's"},
		"released, the finalizer":     {released, metadata("u: released", ""), "", "takes the finalizer"},
		"released, the marker":        {released, metadata("", "", mine), "", "the gate's"},
		"by somebody like the add-on": {held, bare, addOn + "s", "the gate's"},
	} {
		t.Run(name, func(t *testing.T) {
			policy := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, gated(true)), ChainsGate)
			user := c.user
			if user == "" {
				user = "jane"
			}
			values := map[string]any{"request": map[string]any{"userInfo": map[string]any{"username": user}}}
			for key, text := range map[string]string{"oldObject": c.old, "object": c.new} {
				var value any
				if err := json.Unmarshal([]byte(text), &value); err != nil {
					t.Fatal(err)
				}
				values[key] = value
			}
			got, _ := refusal(t, policy, values)
			if (got == "") != (c.message == "") || !strings.Contains(got, c.message) {
				t.Errorf("got %q, want %q", got, c.message)
			}
		})
	}
}

// The webhook is called for objects that are not held, and for no others: usually once for each object.
func TestChainsWebhookSees(t *testing.T) {
	with := func(head, status string) string {
		return strings.TrimSuffix(head, "}") + `,"status":{"conditions":[{"type":"Succeeded","status":"` + status + `"}]}}`
	}
	held, elsewhere := metadata("u: held", "failed"), metadata("other: held", "failed")
	for name, c := range map[string]struct {
		old, new             string
		hold, completeStatus bool
	}{
		"the first write":       {bare, bare, true, false},
		"while it runs":         {with(bare, "Unknown"), with(bare, "Unknown"), true, false},
		"completes":             {with(bare, "Unknown"), with(bare, "True"), true, true},
		"fails":                 {with(bare, "Unknown"), with(bare, "False"), true, true},
		"ends otherwise":        {with(bare, "Unknown"), with(bare, "Perhaps"), true, true},
		"fails at once":         {bare, with(bare, "False"), true, true},
		"another's marker":      {with(elsewhere, "Unknown"), with(elsewhere, "True"), true, true},
		"held, unhooked":        {with(metadata("u: held", ""), "Unknown"), with(held, "True"), true, true},
		"held":                  {held, held, false, false},
		"held, completes":       {with(held, "Unknown"), with(held, "True"), false, false},
		"was complete":          {with(bare, "True"), with(bare, "True"), false, false},
		"run by somebody else":  {`{"metadata":{"uid":"u"},"spec":{"managedBy":"x"}}`, with(bare, "True"), false, false},
		"a lie about its state": {with(bare, "Unknown"), with(held, "True"), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			values := map[string]any{}
			for key, text := range map[string]string{"oldObject": c.old, "object": c.new} {
				var value any
				if err := json.Unmarshal([]byte(text), &value); err != nil {
					t.Fatal(err)
				}
				values[key] = value
			}
			e := newEvaluator(t, ChainsGate, values)
			for _, w := range find[*admissionv1.MutatingWebhookConfiguration](t, render(t, gated(true)), ChainsGate).Webhooks {
				want := c.completeStatus
				if w.Name == ChainsHold {
					want = c.hold
				}
				if got := e.matches(w.MatchConditions); got != want {
					t.Errorf("%s: got %v, want %v", w.Name, got, want)
				}
			}
		})
	}
}

// In audit a webhook that fails breaks no build; in enforce nothing passes without it.
func TestChainsWebhookPolicies(t *testing.T) {
	got := map[string]admissionv1.FailurePolicyType{}
	for _, w := range find[*admissionv1.MutatingWebhookConfiguration](t, render(t, gated(true)), ChainsGate).Webhooks {
		got[w.Name] = *w.FailurePolicy
	}
	want := map[string]admissionv1.FailurePolicyType{
		ChainsHold: admissionv1.Ignore, ChainsAudit: admissionv1.Ignore, ChainsEnforce: admissionv1.Fail,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failure policies (-want +got):\n%s", diff)
	}
	var s settings.Settings
	s.GateChains = true
	s.Enforcement = settings.Enforce
	for _, mode := range []settings.Enforcement{settings.Audit, settings.Enforce} {
		selector, err := metav1.LabelSelectorAsSelector(s.GateSelectorIn(mode, settings.Reserved("tekton-pipelines")))
		if err != nil {
			t.Fatal(err)
		}
		if got := selector.Matches(labels.Set{"kubernetes.io/metadata.name": "ci"}); got != (mode == settings.Enforce) {
			t.Errorf("selector of %s where enforce is global: got %v", mode, got)
		}
	}
}
