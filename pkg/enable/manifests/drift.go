// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// Differences says in what an object of the cluster differs from the rendered one, in a sentence each, without a full stop;
// none if in nothing that weakens signing. Both have the same type; a nil got is missing. Policies, webhooks and what RBAC
// gives are compared whole, since the manifests spell out every default. Of other kinds only the presence counts.
func Differences(want, got runtime.Object) []string {
	if got == nil || reflect.ValueOf(got).IsNil() {
		return []string{missing(want)}
	}
	if m, err := meta.Accessor(got); err == nil && m.GetDeletionTimestamp() != nil {
		return []string{missing(want)}
	}
	if configuration, ok := want.(*admissionv1.MutatingWebhookConfiguration); ok {
		return webhookDifferences(configuration, got)
	}
	if equality.Semantic.DeepEqual(contentOf(want), contentOf(got)) {
		return nil
	}
	return []string{describe(want) + " was changed"}
}

// contentOf returns what counts of an object.
func contentOf(object runtime.Object) any {
	switch o := object.(type) {
	case *admissionv1.ValidatingAdmissionPolicy:
		return o.Spec
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		return o.Spec
	case *rbacv1.ClusterRole:
		return []any{o.Rules, o.AggregationRule}
	case *rbacv1.Role:
		return o.Rules
	case *rbacv1.ClusterRoleBinding:
		return []any{o.RoleRef, o.Subjects}
	case *rbacv1.RoleBinding:
		return []any{o.RoleRef, o.Subjects}
	}
	return nil
}

// webhookDifferences compares webhook by webhook, because each is for other namespaces. The certificate authority is the
// add-on's: it only has to be there.
func webhookDifferences(want *admissionv1.MutatingWebhookConfiguration, object runtime.Object) []string {
	got, ok := object.(*admissionv1.MutatingWebhookConfiguration)
	if !ok {
		return []string{fmt.Sprintf("%s: expected a %T, got a %T", describe(want), want, object)}
	}
	var differences []string
	tell := func(webhook, what string) {
		differences = append(differences, describe(want)+": webhook "+webhook+" "+what)
	}
	for _, w := range want.Webhooks {
		i := slices.IndexFunc(got.Webhooks, func(g admissionv1.MutatingWebhook) bool { return g.Name == w.Name })
		if i < 0 {
			tell(w.Name, "is missing")
			continue
		}
		g := got.Webhooks[i]
		if len(g.ClientConfig.CABundle) == 0 {
			tell(w.Name, "has no certificate authority")
		}
		g.ClientConfig.CABundle = w.ClientConfig.CABundle
		if fields := differingFields(w, g); len(fields) > 0 {
			tell(w.Name, "was changed: "+strings.Join(fields, ", "))
		}
	}
	for _, g := range got.Webhooks {
		if !slices.ContainsFunc(want.Webhooks, func(w admissionv1.MutatingWebhook) bool { return w.Name == g.Name }) {
			tell(g.Name, "was added")
		}
	}
	return differences
}

// differingFields returns the names, as in JSON, of the fields in which two webhooks differ.
func differingFields(a, b admissionv1.MutatingWebhook) []string {
	var fields []string
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !equality.Semantic.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			name, _, _ := strings.Cut(x.Type().Field(i).Tag.Get("json"), ",")
			fields = append(fields, name)
		}
	}
	return fields
}

func missing(object runtime.Object) string { return describe(object) + " is missing" }

// describe names an object by its kind, and namespace/name.
func describe(object runtime.Object) string {
	kind, name := object.GetObjectKind().GroupVersionKind().Kind, ""
	if kind == "" {
		kind = reflect.TypeOf(object).Elem().Name()
	}
	if m, err := meta.Accessor(object); err == nil {
		name = m.GetName()
		if m.GetNamespace() != "" {
			name = m.GetNamespace() + "/" + name
		}
	}
	return kind + " " + name
}
