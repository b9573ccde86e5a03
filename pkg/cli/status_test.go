// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// statusAnswers are what three API servers answer: one with signing on in namespace ci, one where somebody has
// deleted a policy and edited a webhook since, and one where signing is off.
func statusAnswers() (on, drifted, off map[string]string, err error) {
	off = map[string]string{
		"/version": `{"major":"1","minor":"35","gitVersion":"v1.35.4"}`,
		"/apis/apps/v1/deployments": `{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{},"items":[{"metadata":{` +
			`"name":"tekton-pipelines-controller","namespace":"tekton-pipelines",` +
			`"labels":{"app.kubernetes.io/version":"v1.15.0"}}}]}`,
		"/apis/apps/v1/namespaces/tekton-pipelines/deployments": `{"kind":"DeploymentList","apiVersion":"apps/v1",` +
			`"metadata":{},"items":[{"metadata":{` +
			`"name":"tekton-pipelines-controller","namespace":"tekton-pipelines",` +
			`"labels":{"app.kubernetes.io/version":"v1.15.0"}}}]}`,
		"/api/v1/namespaces": mustJSON(corev1.NamespaceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1",
			Kind: "NamespaceList"}, Items: []corev1.Namespace{
			{ObjectMeta: metav1.ObjectMeta{Name: "ci", Labels: map[string]string{corev1.LabelMetadataName: "ci"}}},
		}}),
	}
	off["/api/v1/pods"] = mustJSON(corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}})
	off["/apis/apps/v1/statefulsets"] = mustJSON(appsv1.StatefulSetList{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1",
		Kind: "StatefulSetList"}})
	on = maps.Clone(off)
	for _, kind := range []string{"ClusterRole", "Role", "ClusterRoleBinding"} {
		on["/apis/rbac.authorization.k8s.io/v1/"+strings.ToLower(kind)+"s"] =
			`{"kind":"` + kind + `List","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{},"items":[]}`
	}
	fence, err := manifests.FenceVersion()
	if err != nil {
		return nil, nil, nil, err
	}
	grant := manifests.Grant(signing.BackendOIDCSAToken, "ci", fence)
	on["/apis/rbac.authorization.k8s.io/v1/rolebindings"] = mustJSON(
		rbacv1.RoleBindingList{Items: []rbacv1.RoleBinding{*grant}})
	if err := addInstallation(on, signing.BackendOIDCSAToken); err != nil {
		return nil, nil, nil, err
	}
	drifted = maps.Clone(on)
	const group = "/apis/admissionregistration.k8s.io/v1/"
	delete(drifted, group+"validatingadmissionpolicies/"+manifests.SigningTokens)
	webhooks := group + "mutatingwebhookconfigurations/" + manifests.StatusWebhook
	drifted[webhooks] = strings.Replace(on[webhooks], `"failurePolicy":"Fail"`, `"failurePolicy":"Ignore"`, 1)
	return on, drifted, off, nil
}

// addInstallation answers for every object of an installation, and for what the add-on writes.
func addInstallation(answers map[string]string, backend signing.Backend) error {
	s := settings.Default()
	s.Backend = backend
	s.Scope.Names = []string{"ci"}
	objects, err := manifests.Render(manifests.Options{
		TektonNamespace: "tekton-pipelines", Registry: manifests.DefaultRegistry, Version: version.Get().Version, Settings: s,
	})
	if err != nil {
		return err
	}
	now := time.Now()
	_, certificate, authority, err := certresources.CreateCerts(context.Background(), manifests.Controller,
		manifests.Namespace, now.Add(7*24*time.Hour))
	if err != nil {
		return err
	}
	holder, renewed := "tekton-sign-controller-1", metav1.NewMicroTime(now)
	history, err := historyNow(now)
	if err != nil {
		return err
	}
	answers["/api/v1/namespaces/"+manifests.Namespace+"/configmaps"] = mustJSON(
		corev1.ConfigMapList{Items: []corev1.ConfigMap{*history}})
	for _, name := range []string{manifests.Controller, manifests.Keeper} {
		objects = append(objects, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: manifests.Namespace, Name: name},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &renewed},
		})
	}
	for _, object := range objects {
		switch o := object.(type) {
		case *admissionv1.MutatingWebhookConfiguration:
			for i := range o.Webhooks {
				o.Webhooks[i].ClientConfig.CABundle = authority
			}
		case *corev1.Secret:
			o.Data = map[string][]byte{certresources.ServerCert: certificate}
		case *appsv1.Deployment:
			o.Status = appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}
		}
		path, err := pathOf(object)
		if err != nil {
			return err
		}
		answers[path] = mustJSON(object)
	}
	return nil
}

// historyNow is a trust history whose key was just seen.
func historyNow(now time.Time) (*corev1.ConfigMap, error) {
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		return nil, err
	}
	live, err := cluster.Trust()
	if err != nil {
		return nil, err
	}
	h := trust.History{}
	if err := h.Observe(live, now); err != nil {
		return nil, err
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: trust.HistoryName(1),
			Annotations: map[string]string{trust.AnnotationCluster: verifytest.ClusterUID}},
		Data: map[string]string{},
	}
	for key, sightings := range h {
		if cm.Data[key], err = trust.EncodeEntry(sightings); err != nil {
			return nil, err
		}
	}
	return cm, nil
}

// pathOf returns where an API server has the object, and sets its kind.
func pathOf(object runtime.Object) (string, error) {
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		return "", err
	}
	object.GetObjectKind().SetGroupVersionKind(kinds[0])
	m, err := meta.Accessor(object)
	if err != nil {
		return "", err
	}
	path := "/apis/" + kinds[0].Group + "/v1"
	if kinds[0].Group == "" {
		path = "/api/v1"
	}
	if m.GetNamespace() != "" {
		path += "/namespaces/" + m.GetNamespace()
	}
	plural, _ := meta.UnsafeGuessKindToResource(kinds[0])
	return path + "/" + plural.Resource + "/" + m.GetName(), nil
}

// TestStatusExitCodes: the exit code is that of the outcome, whatever the format, and every report is as
// docs/schema says.
func TestStatusExitCodes(t *testing.T) {
	cluster, err := verifytest.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	on, drifted, off, err := statusAnswers()
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(filepath.Join("..", "..", "docs", "schema", "statusreport.v1alpha1.json"))
	if err != nil {
		t.Fatal(err)
	}
	formats := slices.DeleteFunc(report.StatusFormats(), func(f string) bool { return strings.HasSuffix(f, "=") })
	formats = append(formats, "jsonpath={.outcome}", "go-template={{.outcome}}")
	for name, c := range map[string]struct {
		answers map[string]string
		code    int
	}{"on": {on, ExitOK}, "drifted": {drifted, ExitFailed}, "off": {off, ExitUnsigned},
		"unreachable": {nil, ExitIndeterminate}} {
		server := "http://127.0.0.1:1"
		if c.answers != nil {
			fake, err := newFakeServer(cluster, c.answers)
			if err != nil {
				t.Fatal(err)
			}
			defer fake.Close()
			server = fake.URL
		}
		config := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(config, kubeconfig(server), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, format := range formats {
			out, code := runPlugin(t, "status", "--kubeconfig", config, "-o", format)
			if code != c.code {
				t.Errorf("%s with -o %s: exit code %d, want %d:\n%s", name, format, code, c.code, out)
			}
			if format != "json" {
				continue
			}
			object, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
			if err != nil {
				t.Fatalf("%s: %v:\n%s", name, err, out)
			}
			if err := schema.Validate(object); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestNextStepKeepsTheSettings: whoever runs the command that status advises gets the settings that the cluster has.
func TestNextStepKeepsTheSettings(t *testing.T) {
	s := settings.Default()
	s.Backend, s.Delivery, s.Format, s.Binding = signing.BackendOIDCSAToken, settings.DeliveryInit, signing.FormatV2,
		signing.BindingKey
	s.Tokens.Audience, s.Tokens.Lifetime = "our-results", 20*time.Minute
	s.Enforcement, s.Policies, s.MinimumFormat, s.KeepMaterial, s.GateChains = settings.Enforce, settings.PoliciesStrict,
		signing.FormatV2, true, true
	s.Scope.Names = []string{"cd", "ci"}
	s.Exempt = []settings.Account{{Namespace: "ci", Name: "vault"}}
	args := append(strings.Fields(enable.Command(s, "reg.example/x")), "--dry-run=client", "-o", "json",
		"--tekton-namespace", "tekton-pipelines")
	out, code := runPlugin(t, args...)
	if code != ExitOK {
		t.Fatalf("exit code %d", code)
	}
	var list struct{ Items []corev1.ConfigMap }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list.Items, func(o corev1.ConfigMap) bool { return o.Name == settings.ConfigMapName })
	got, err := settings.Parse(list.Items[i].Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if image := "reg.example/x/controller:" + version.Get().Version; !strings.Contains(out, image) {
		t.Errorf("no image %s", image)
	}
}
