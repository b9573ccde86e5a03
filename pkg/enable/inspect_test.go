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
)

func TestInspect(t *testing.T) {
	events := tektonController("elsewhere")
	events.Labels["app.kubernetes.io/component"] = "events"
	for name, tc := range map[string]struct {
		objects []runtime.Object
		choice  string
		want    string // namespace
		err     string
	}{
		"usual namespace":     {[]runtime.Object{tektonController("tekton-pipelines")}, "", "tekton-pipelines", ""},
		"another namespace":   {[]runtime.Object{tektonController("openshift-pipelines")}, "", "openshift-pipelines", ""},
		"not the events part": {[]runtime.Object{tektonController("a"), events}, "", "a", ""},
		"none":                {nil, "", "", "no Tekton Pipelines in this cluster"},
		"none there":          {[]runtime.Object{tektonController("a")}, "b", "", "no Tekton Pipelines in namespace b"},
		"two":                 {[]runtime.Object{tektonController("a"), tektonController("b")}, "", "", "choose one with --tekton-namespace"},
		"one of two":          {[]runtime.Object{tektonController("a"), tektonController("b")}, "b", "b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Inspect(t.Context(), newFakeCluster(t, tc.objects...).Kube, tc.choice)
			if !matches(err, tc.err) {
				t.Fatalf("got error %v, want %q", err, tc.err)
			}
			want := Environment{KubernetesVersion: "v1.35.4", TektonNamespace: tc.want, TektonVersion: "v1.15.0", TektonAccount: "the-controller"}
			if diff := cmp.Diff(want, got); tc.err == "" && diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInspectTooOld(t *testing.T) {
	c := newFakeCluster(t, tektonController("tekton-pipelines"))
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
