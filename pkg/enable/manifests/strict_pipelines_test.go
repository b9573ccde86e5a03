// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

func TestPipelineChildrenPolicy(t *testing.T) {
	child := func(change func(*metav1.ObjectMeta)) map[string]any {
		m := metav1.ObjectMeta{Name: "release-build", Labels: map[string]string{"team": "a"}}
		if change != nil {
			change(&m)
		}
		object := plain(t, &metav1.PartialObjectMetadata{ObjectMeta: m}).(map[string]any) //nolint:forcetypeassert // a map
		return map[string]any{"kind": "TaskRun", "metadata": object["metadata"]}
	}
	labelled := child(func(m *metav1.ObjectMeta) { m.Labels["tekton.dev/pipelineRun"] = "release" })
	owned := child(func(m *metav1.ObjectMeta) {
		m.OwnerReferences = []metav1.OwnerReference{
			{APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: "release", UID: "u"},
		}
	})
	foreign := child(func(m *metav1.ObjectMeta) {
		m.OwnerReferences = []metav1.OwnerReference{
			{APIVersion: "evil.dev/v1", Kind: "PipelineRun", Name: "release", UID: "u"},
		}
	})
	dictating := func(where string) map[string]any {
		pr := child(nil)
		labels := map[string]any{"labels": map[string]any{"tekton.dev/pipelineTask": "build"}}
		spec := map[string]any{"taskRunSpecs": []any{map[string]any{"pipelineTaskName": "use", "metadata": labels}}}
		if where == "finally" {
			finally := []any{map[string]any{"taskSpec": map[string]any{"metadata": labels}}}
			spec = map[string]any{"pipelineSpec": map[string]any{"finally": finally}}
		}
		pr["kind"], pr["spec"] = "PipelineRun", spec
		return pr
	}
	relabelled := child(func(m *metav1.ObjectMeta) { m.Labels["team"] = "b" })
	create := func(user string, object any) asked { return asked{user: user, operation: "CREATE", object: object} }
	update := func(user string, old, object any) asked {
		return asked{user: user, operation: "UPDATE", old: old, object: object}
	}
	const gc = "system:serviceaccount:kube-system:generic-garbage-collector"
	checkRefusals(t, PipelineChildren, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton makes it":     {create(tekton, owned), ""},
		"a TaskRun by itself": {create("jane", child(nil)), ""},
		"with the label": {
			create("jane", labelled), "TaskRun release-build was not written for jane: the labels tekton.dev/pipelineRun",
		},
		"with the owner": {
			create("jane", owned),
			"TaskRun release-build was not written for jane: a PipelineRun is made its owner only by " + tekton,
		},
		"another Tekton": {
			create("system:serviceaccount:tekton-pipelines:tekton-pipelines-controller", owned),
			"a PipelineRun is made its owner",
		},
		"labelled later":        {update("jane", child(nil), labelled), "the labels"},
		"of another group":      {create("jane", foreign), "made its owner"},
		"dictated to Tekton":    {create("jane", dictating("taskRunSpecs")), "leave them out of taskRunSpecs"},
		"dictated by a task":    {create("jane", dictating("finally")), "leave them out of taskRunSpecs"},
		"adopted later":         {update("jane", child(nil), owned), "made its owner"},
		"unlabelled":            {update("jane", labelled, child(nil)), "the labels"},
		"disowned":              {update("jane", owned, child(nil)), "made its owner"},
		"another label":         {update("jane", child(nil), relabelled), ""},
		"orphaned":              {update(gc, owned, child(nil)), ""},
		"adopted by the mantle": {update(gc, child(nil), owned), "made its owner"},
	})
}

func TestPipelineStatusPolicy(t *testing.T) {
	write := func(user, resource, managedBy string) asked {
		spec := map[string]any{}
		if managedBy != "" {
			spec["managedBy"] = managedBy
		}
		return asked{
			user: user, operation: "UPDATE", name: "release", subresource: "status", resource: resource,
			old: map[string]any{"spec": spec}, object: map[string]any{},
		}
	}
	o := testOptions()
	o.Settings.CustomRunControllers = []settings.Account{{Namespace: "approvals", Name: "controller"}}
	const approvals = "system:serviceaccount:approvals:controller"
	checkRefusalsWith(t, o, PipelineStatus, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton": {write(tekton, "pipelineruns", ""), ""},
		"a user": {
			write("jane", "pipelineruns", ""), "jane may not write the status of PipelineRun release",
		},
		"the add-on":                 {write(addOn, "pipelineruns", ""), "may not write the status of PipelineRun"},
		"run by another":             {write("jane", "pipelineruns", "else.dev/controller"), ""},
		"a custom task's controller": {write(approvals, "customruns", ""), ""},
		"for a PipelineRun":          {write(approvals, "pipelineruns", ""), "may not write the status of PipelineRun"},
		"a user, for a custom task": {
			write("jane", "customruns", ""), "jane may not write the status of CustomRun release",
		},
		"nothing excepts a CustomRun": {write("jane", "customruns", "else.dev/controller"), "--custom-run-controller"},
	})
	checkRefusals(t, PipelineStatus, map[string]struct {
		asked asked
		shown string
	}{"no controller is named": {write(approvals, "customruns", ""), "the settings do not name it"}})
}

func TestManagedByPolicy(t *testing.T) {
	create := func(managedBy any) asked {
		return asked{
			user: "jane", operation: "CREATE", namespace: "release",
			object: map[string]any{"spec": map[string]any{"managedBy": managedBy}},
		}
	}
	o := testOptions()
	o.Settings.ManagedBy = []string{"kueue.x-k8s.io/multikueue"}
	checkRefusalsWith(t, o, ManagedBy, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton":   {create("tekton.dev/pipeline"), ""},
		"nobody":   {asked{user: "jane", operation: "CREATE", object: map[string]any{"spec": map[string]any{}}}, ""},
		"named":    {create("kueue.x-k8s.io/multikueue"), ""},
		"another":  {create("other"), "enable --managed-by other"},
		"an empty": {create(""), "spec.managedBy"},
	})
}
