// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"bytes"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
)

func byManager() settings.Settings {
	s := settings.Default()
	s.Backend, s.SPIRE.Entries = signing.BackendSPIRE, settings.EntriesManager
	return s
}

// managerSpecs returns the specs of the objects by name.
func managerSpecs(t *testing.T, s settings.Settings) map[string]map[string]any {
	t.Helper()
	namespaces := &metav1.LabelSelector{MatchLabels: map[string]string{"team": "ci"}}
	objects, _, err := spirecluster.ManagerObjects(s, namespaces)
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]map[string]any{}
	for _, o := range objects {
		u, ok := o.(*unstructured.Unstructured)
		if !ok || u.GroupVersionKind() != spirecluster.ManagerKind() {
			t.Fatalf("unexpected object %v", o)
		}
		specs[u.GetName()], _, _ = unstructured.NestedMap(u.Object, "spec")
	}
	return specs
}

// TestManagerObjects renders the templates as spire-controller-manager does: text/template, without functions of its
// own.
func TestManagerObjects(t *testing.T) {
	s := byManager()
	s.SPIRE.Class = "spire-system-spire"
	specs := managerSpecs(t, s)
	spec := specs["tekton-sign-taskruns"]
	pod := map[string]any{"TrustDomain": "lab.test", "PodMeta": &metav1.ObjectMeta{
		Namespace: "ci", Labels: map[string]string{
			"tekton.dev/taskRun": strings.Repeat("x", 63), "tekton.dev/taskRunUID": "6340374f-3a88-4ff2-812e-c155a2d8e142",
		},
	}}
	render := func(value any) string {
		text, _ := value.(string)
		parsed, err := template.New("").Parse(text)
		var out bytes.Buffer
		if err == nil {
			err = parsed.Execute(&out, pod)
		}
		if err != nil {
			t.Fatalf("%v: %v", value, err)
		}
		return out.String()
	}
	want := "spiffe://lab.test/ns/ci/taskrun/" + strings.Repeat("x", 63)
	if got := render(spec["spiffeIDTemplate"]); got != want {
		t.Errorf("SPIFFE ID %s, want %s", got, want)
	}
	selectors, _ := spec["workloadSelectorTemplates"].([]any)
	if len(selectors) != 1 ||
		render(selectors[0]) != "k8s:pod-owner-uid:TaskRun:6340374f-3a88-4ff2-812e-c155a2d8e142" {
		t.Errorf("selectors %v", selectors)
	}
	namespaces := map[string]any{"matchLabels": map[string]any{"team": "ci"}}
	if diff := cmp.Diff(namespaces, spec["namespaceSelector"]); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	want = "spiffe://lab.test/tekton-sign/controller"
	if got := render(specs["tekton-sign-controller"]["spiffeIDTemplate"]); got != want {
		t.Errorf("SPIFFE ID of the add-on %s", got)
	}
	for name, spec := range specs {
		if spec["className"] != s.SPIRE.Class || spec["hint"] != "tekton-sign" || spec["admin"] != nil {
			t.Errorf("%s: %v", name, spec)
		}
	}
	if _, ok := managerSpecs(t, byManager())["tekton-sign-taskruns"]["className"]; ok {
		t.Error("a class without the setting")
	}
}

func TestManagerObjectsWanted(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*settings.Settings)
		want   bool
	}{
		"wanted":          {func(*settings.Settings) {}, true},
		"by the API":      {func(s *settings.Settings) { s.SPIRE.Entries = settings.EntriesAPI }, false},
		"another backend": {func(s *settings.Settings) { s.Backend = signing.BackendReceipt }, false},
		"Tekton's signer": {byTekton, true},
	} {
		s := byManager()
		tc.change(&s)
		_, got, err := spirecluster.ManagerObjects(s, &metav1.LabelSelector{})
		if err != nil || got != tc.want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}

// TestCheckManager finds out whether anybody registers TaskRuns.
func TestCheckManager(t *testing.T) {
	resource := spirecluster.ManagerKind().GroupVersion().WithResource("clusterspiffeids")
	object := func(status map[string]any) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetGroupVersionKind(spirecluster.ManagerKind())
		u.SetName("tekton-sign-taskruns")
		if status != nil {
			u.Object["status"] = map[string]any{"stats": status}
		}
		return u
	}
	forbidden := apierrors.NewForbidden(resource.GroupResource(), "", nil)
	for name, tc := range map[string]struct {
		object  *unstructured.Unstructured
		err     error
		entries settings.SPIREEntries
		level   cluster.Level
		text    string // of message and next
	}{
		"registers":        {object(map[string]any{}), nil, settings.EntriesManager, cluster.Fine, "best effort"},
		"not there yet":    {nil, nil, settings.EntriesManager, cluster.Fine, "best effort"},
		"of another class": {object(nil), nil, settings.EntriesManager, cluster.Warning, "--spire-class NAME"},
		"fails to render": {object(map[string]any{"podEntryRenderFailures": int64(2)}), nil, settings.EntriesManager,
			cluster.Warning, "podEntryRenderFailures"},
		"fails to create": {object(map[string]any{"entryFailures": int64(2)}), nil, settings.EntriesManager,
			cluster.Warning, "entryFailures"},
		"no CRD": {nil, apierrors.NewNotFound(resource.GroupResource(), ""), settings.EntriesManager, cluster.Broken,
			"enable spire --spire-entries api"},
		"may not read":       {nil, forbidden, settings.EntriesManager, cluster.Unread, "cannot read the ClusterSPIFFEIDs"},
		"no CRD, by the API": {nil, forbidden, settings.EntriesAPI, cluster.Fine, ""},
	} {
		var objects []runtime.Object
		if tc.object != nil {
			objects = append(objects, tc.object)
		}
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
			map[schema.GroupVersionResource]string{resource: "ClusterSPIFFEIDList"}, objects...)
		if tc.err != nil {
			client.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, tc.err
			})
		}
		s := byManager()
		s.SPIRE.Entries = tc.entries
		f := spirecluster.CheckManager(t.Context(), client, s)
		if f.Level != tc.level || !strings.Contains(f.Message+f.Next, tc.text) {
			t.Errorf("%s: got %+v", name, f)
		}
	}
}
