// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"encoding/json"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// seen reports whether a webhook is called for a write, in JSON. Both webhooks of the configuration have the same
// conditions.
func seen(t *testing.T, configuration, oldObject, object string) bool {
	t.Helper()
	values := map[string]any{}
	for name, text := range map[string]string{"oldObject": oldObject, "object": object} {
		var value any
		if text != "" {
			if err := json.Unmarshal([]byte(text), &value); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
		values[name] = value
	}
	webhooks := find[*admissionv1.MutatingWebhookConfiguration](t, render(t, testOptions()), configuration).Webhooks
	return newEvaluator(t, configuration, values).matches(webhooks[0].MatchConditions)
}

// The webhook is called for the writes that a verdict can depend on, and for no others: a running TaskRun has
// dozens of writes.
func TestStatusWebhookSees(t *testing.T) {
	condition := func(status string) string { return `"conditions":[{"type":"Succeeded","status":"` + status + `"}]` }
	status := func(fields string) string { return `{"spec":{},"status":{` + fields + `}}` }
	awaited := func(ours ...string) string {
		text := `"podName":"p","conditions":[{"type":"Succeeded","status":"Unknown"}`
		for _, o := range ours {
			text += `,{"type":"SignedResultsVerified","status":"` + o + `"}`
		}
		return status(text + "]")
	}
	running := status(condition("Unknown"))
	for name, c := range map[string]struct {
		old, new string
		want     bool
	}{
		"the first write":            {`{"spec":{}}`, running, false},
		"has a pod":                  {running, awaited(), true},
		"was not seen with its pod":  {awaited(), awaited(), false},
		"has another pod":            {status(`"podName":"o"`), awaited(), true},
		"while it runs":              {awaited("Unknown"), awaited("Unknown"), false},
		"the verdict is anticipated": {awaited("Unknown"), awaited("True"), true},
		"anticipated beside":         {awaited("Unknown"), awaited("Unknown", "True"), true},
		"nothing is awaited":         {awaited("Unknown"), awaited(), true},
		"no conditions at all":       {`{}`, `{"status":{}}`, false},
		"another condition":          {running, status(`"conditions":[{"type":"Ready","status":"True"}]`), false},
		"succeeds":                   {running, status(condition("True")), true},
		"fails":                      {running, status(condition("False")), true},
		"has succeeded":              {status(condition("True")), status(condition("True") + `,"x":1`), true},
		"is reopened":                {status(condition("True")), running, true},
		"loses its status":           {status(condition("False")), `{"spec":{}}`, true},
		"conditions become nonsense": {status(condition("True")), status(`"conditions":[5]`), true},
		"an attempt is archived":     {running, status(condition("Unknown") + `,"retriesStatus":[{}]`), true},
		"another attempt":            {status(`"retriesStatus":[{}]`), status(`"retriesStatus":[{},{}]`), true},
		"an attempt vanishes":        {status(`"retriesStatus":[{},{}]`), status(`"retriesStatus":[{}]`), true},
		"the archive vanishes":       {status(`"retriesStatus":[{}]`), running, true},
		"the archive stays":          {status(`"retriesStatus":[{}]`), status(`"retriesStatus":[{}],"x":1`), false},
		"an attempt is changed": {
			status(`"retriesStatus":[{"podName":"a"}]`), status(`"retriesStatus":[{"podName":"b"}]`), true,
		},
		"the declaration is stored": {
			running, status(condition("Unknown") + `,"taskSpec":{"results":[{"name":"a"}]}`), false,
		},
		"the declaration stays": {
			status(`"taskSpec":{"results":[{"name":"a"}]}`), status(`"taskSpec":{"results":[{"name":"a"}]},"x":1`), false,
		},
		"the declaration is changed": {
			status(`"taskSpec":{"results":[{"name":"a"}]}`), status(`"taskSpec":{"results":[{"name":"b"}]}`), true,
		},
		"the declaration is taken out": {status(`"taskSpec":{}`), running, true},

		"run by somebody else":         {`{"spec":{"managedBy":"else"}}`, status(condition("True")), false},
		"said to be run by else":       {running, `{"spec":{"managedBy":"else"},"status":{` + condition("True") + `}}`, true},
		"said to be run by Tekton too": {`{"spec":{"managedBy":"tekton.dev/pipeline"}}`, status(condition("True")), true},
	} {
		if got := seen(t, StatusWebhook, c.old, c.new); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestInjectWebhookSees(t *testing.T) {
	owned := func(owner string) string { return `{"metadata":{"ownerReferences":[` + owner + `]}}` }
	for name, c := range map[string]struct {
		pod  string
		want bool
	}{
		"a TaskRun's pod": {owned(`{"kind":"TaskRun","apiVersion":"tekton.dev/v1","controller":true}`), true},
		"of an older API": {owned(`{"kind":"TaskRun","apiVersion":"tekton.dev/v1beta1","controller":true}`), true},
		"an owner among some": {
			owned(`{"kind":"A","apiVersion":"b/v1"},{"kind":"TaskRun","apiVersion":"tekton.dev/v1","controller":true}`), true,
		},
		"not its controller": {owned(`{"kind":"TaskRun","apiVersion":"tekton.dev/v1"}`), false},
		"another TaskRun":    {owned(`{"kind":"TaskRun","apiVersion":"else.dev/v1","controller":true}`), false},
		"no owner":           {`{"metadata":{}}`, false},
	} {
		if got := seen(t, InjectWebhook, "", c.pod); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestConsumersWebhookSees(t *testing.T) {
	owned := func(owner string) string { return `{"metadata":{"ownerReferences":[` + owner + `]}}` }
	for name, c := range map[string]struct {
		object string
		want   bool
	}{
		"a child":         {owned(`{"kind":"PipelineRun","apiVersion":"tekton.dev/v1","controller":true}`), true},
		"of an older API": {owned(`{"kind":"PipelineRun","apiVersion":"tekton.dev/v1beta1","controller":true}`), true},
		"not its controller": {
			owned(`{"kind":"A","apiVersion":"b/v1"},{"kind":"PipelineRun","apiVersion":"tekton.dev/v1"}`), true,
		},
		"of a custom run":   {owned(`{"kind":"CustomRun","apiVersion":"tekton.dev/v1beta1","controller":true}`), false},
		"of something else": {owned(`{"kind":"PipelineRun","apiVersion":"else.dev/v1","controller":true}`), false},
		"of nobody":         {`{"metadata":{}}`, false},
	} {
		if got := seen(t, ConsumersWebhook, "", c.object); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
