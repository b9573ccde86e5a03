// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// amiss lists the checks that did not pass, and what they expected and got.
func amiss(checks []status.Check) string {
	var b strings.Builder
	for _, c := range checks {
		if c.Status == verify.Pass || c.Status == verify.Note {
			continue
		}
		fmt.Fprintf(&b, "%s %s", c.Status, c.ID)
		if c.Object != nil {
			fmt.Fprintf(&b, " %s", c.Object)
		}
		fmt.Fprintf(&b, ": %s", c.Message)
		if c.Field+c.Expected+c.Got != "" {
			fmt.Fprintf(&b, "; %s: expected %s, got %s", c.Field, c.Expected, c.Got)
		}
		fmt.Fprintf(&b, "\n")
	}
	return b.String()
}

// amissCase changes one thing of an installation that is in order.
type amissCase struct {
	edit    edit
	outcome status.Outcome
	want    []string // each is part of a check that did not pass; the first is reported by the checker alone, too
}

// testAmiss wants each change reported, with what was expected, and nothing else.
func testAmiss(t *testing.T, checker Checker, cases map[string]amissCase) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			tc.edit(in)
			s := in.status(0)
			got := amiss(s.Checks)
			if s.Outcome != tc.outcome {
				t.Errorf("outcome: got %s, want %s", s.Outcome, tc.outcome)
			}
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %q in:\n%s", want, got)
				}
			}
			for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
				if !containsAny(line, tc.want) {
					t.Errorf("this is amiss, too: %s", line)
				}
			}
			if alone := amiss(checker(t.Context(), in.read())); !strings.Contains(alone, tc.want[0]) {
				t.Errorf("the checker alone: want %q in:\n%s", tc.want[0], alone)
			}
		})
	}
}

func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

type edit = func(*installed)

// renewed makes the API server store the Lease, and the leader renew it, that much later, each by its own clock.
func renewed(stored, renewed time.Duration) edit {
	return renewedBy(manifests.Controller, stored, renewed)
}

func renewedBy(name string, stored, renewed time.Duration) edit {
	return edited(name, func(l *coordinationv1.Lease) {
		l.ManagedFields[0].Time = new(metav1.NewTime(l.ManagedFields[0].Time.Add(stored)))
		l.Spec.RenewTime = new(metav1.NewMicroTime(l.Spec.RenewTime.Add(renewed)))
	})
}

// edited edits the object of type T called name.
func edited[T runtime.Object](name string, f func(T)) edit {
	return func(in *installed) { f(get[T](in, name)) }
}

func dropped[T runtime.Object](name string) edit { return func(in *installed) { drop[T](in, name) } }

type (
	policy      = *admissionv1.ValidatingAdmissionPolicy
	binding     = *admissionv1.ValidatingAdmissionPolicyBinding
	webhooks    = *admissionv1.MutatingWebhookConfiguration
	deployment  = *appsv1.Deployment
	settingsMap = *corev1.ConfigMap
)

func dropGrant(in *installed, namespace string) {
	for i, typed := range in.objects {
		if b, ok := typed.(*rbacv1.RoleBinding); ok && b.Namespace == namespace {
			in.objects = append(in.objects[:i:i], in.objects[i+1:]...)
			return
		}
	}
	in.t.Fatalf("no grant in %s", namespace)
}

// forbid takes away a right: a verb on a kind of object, or on all kinds.
func (in *installed) forbid(verb, resource string) {
	in.spoil = func(c fakeClients) {
		refuse := func(a clienttesting.Action) (bool, runtime.Object, error) {
			if resource != "" && a.GetResource().Resource != resource {
				return false, nil, nil
			}
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "x",
				errors.New("no"))
		}
		c.kube.PrependReactor(verb, "*", refuse)
		c.dynamic.PrependReactor(verb, "*", refuse)
	}
}
