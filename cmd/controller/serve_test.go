// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/config"
)

// TestRules compares what the webhooks are asked about with what the server takes.
func TestRules(t *testing.T) {
	objects, err := config.Objects()
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string][]string{}
	for _, o := range objects {
		c, ok := o.(*admissionregistrationv1.MutatingWebhookConfiguration)
		if !ok {
			continue
		}
		for _, w := range c.Webhooks {
			asked[*w.ClientConfig.Service.Path] = append(asked[*w.ClientConfig.Service.Path], lines(w.Rules)...)
		}
	}
	taken := rules()
	if len(asked) != len(taken) {
		t.Errorf("asked at %d paths, %d have rules", len(asked), len(taken))
	}
	for path, want := range asked {
		slices.Sort(want)
		want = slices.Compact(want)
		if got := taken[path].String(); got != strings.Join(want, "\n") {
			t.Errorf("%s: asked about\n%s\ntaken are\n%s", path, strings.Join(want, "\n"), got)
		}
	}
}

// lines returns a line for each operation on a resource.
func lines(rules []admissionregistrationv1.RuleWithOperations) (all []string) {
	for _, r := range rules {
		for _, operation := range r.Operations {
			for _, resource := range r.Resources {
				version := strings.TrimPrefix(r.APIGroups[0]+"/"+r.APIVersions[0], "/")
				all = append(all, string(operation)+" "+version+" "+resource)
			}
		}
	}
	return all
}

func TestHalfOf(t *testing.T) {
	for limit, want := range map[string]int64{"268435456\n": 134217728, "max\n": 0, "": 0, "-1": 0,
		"9223372036854775808": 0} {
		if got := halfOf(limit); got != want {
			t.Errorf("halfOf(%q) = %d, want %d", limit, got, want)
		}
	}
}
