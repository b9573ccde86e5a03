// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
)

func TestReadLive(t *testing.T) {
	configSigning := func(namespace, audience string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "config-signing"},
			Data:       map[string]string{"oidc-audience": audience},
		}
	}
	stock, elsewhere := configSigning("tekton-pipelines", "stock"), configSigning("openshift-pipelines", "elsewhere")
	for name, c := range map[string]struct {
		objects   []runtime.Object
		forbidden string // resource
		want      string // audience prefix
		is        func(error) bool
	}{
		"usual namespace": {
			objects: []runtime.Object{enabletest.TektonController("tekton-pipelines"), stock, elsewhere}, want: "stock",
		},
		"another namespace": {
			objects: []runtime.Object{enabletest.TektonController("openshift-pipelines"), stock, elsewhere}, want: "elsewhere",
		},
		"may not look for Tekton": {
			objects: []runtime.Object{enabletest.TektonController("openshift-pipelines"), stock}, forbidden: "deployments",
			want: "stock",
		},
		"may not read the setting": {
			objects: []runtime.Object{enabletest.TektonController("tekton-pipelines"), stock}, forbidden: "configmaps",
			is: apierrors.IsForbidden,
		},
		"no settings": {
			objects: []runtime.Object{enabletest.TektonController("tekton-pipelines")}, is: apierrors.IsNotFound,
		},
		"no Tekton": {
			objects: []runtime.Object{stock}, is: func(err error) bool { return matches(err, "no Tekton Pipelines") },
		},
		"a StatefulSet": {
			objects: []runtime.Object{enabletest.StatefulTekton("openshift-pipelines", 2), stock, elsewhere}, want: "elsewhere",
		},
		"two of them, one signs": {
			objects: []runtime.Object{enabletest.TektonController("tekton-pipelines"),
				enabletest.TektonController("openshift-pipelines"), stock}, want: "stock",
		},
		"two of them": {
			objects: []runtime.Object{enabletest.TektonController("tekton-pipelines"),
				enabletest.TektonController("openshift-pipelines"), stock, elsewhere},
			is: func(err error) bool { return matches(err, "2 installations") },
		},
		"two of them, no settings": {
			objects: []runtime.Object{enabletest.TektonController("tekton-pipelines"),
				enabletest.TektonController("openshift-pipelines")},
			is: func(err error) bool { return matches(err, "2 installations") },
		},
		"two of them, whose settings may not be read": {
			objects: []runtime.Object{enabletest.TektonController("tekton-pipelines"),
				enabletest.TektonController("openshift-pipelines"), stock},
			forbidden: "configmaps",
			is:        func(err error) bool { return matches(err, "2 installations") },
		},
		"broken settings": {
			objects: []runtime.Object{enabletest.TektonController("tekton-pipelines"), configSigning("tekton-pipelines", "a:b")},
			is:      func(err error) bool { return matches(err, "oidc-audience") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(c.objects...)
			if c.forbidden != "" {
				client.PrependReactor("*", c.forbidden, func(k8stesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewForbidden(appsv1.Resource(c.forbidden), "", nil)
				})
			}
			got, err := ReadLive(t.Context(), client)
			if c.is != nil {
				if err == nil || !c.is(err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || got.Settings.Tokens.Audience != c.want {
				t.Errorf("got %q and %v, want %q", got.Settings.Tokens.Audience, err, c.want)
			}
		})
	}
}
