// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/fake/faketest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TestFakeBackend is what the plugin makes of a backend that is a folder and a row in each table.
func TestFakeBackend(t *testing.T) {
	cluster, tr, err := faketest.TaskRun()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, content any) string {
		data, ok := content.([]byte)
		if !ok {
			if data, err = yaml.Marshal(content); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bundle, err := cluster.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	trusted, signed := write("bundle.json", bundle), write("taskrun.yaml", tr)
	tr.Status.Results[0].Value.StringVal = "sha256:0"
	tampered := write("tampered.yaml", tr)
	for _, tc := range []struct {
		args []string
		exit int
		want []string
	}{
		{[]string{"verify", "-f", signed, "--trust-bundle", trusted}, 0, []string{"VERIFIED", "fake:ci/builder"}},
		{[]string{"verify", "-f", tampered, "--trust-bundle", trusted}, 4, []string{"FAILED"}},
		{[]string{"evidence", "-f", signed}, 0, []string{"key of a test"}},
		{[]string{"trust", "show", trusted}, 0, []string{"fake.test"}},
		{
			[]string{"enable", "fake", "--dry-run=client", "-o", "yaml", "--tekton-namespace", "tekton-pipelines"}, 0,
			[]string{"enforce-nonfalsifiability: fake", "''oidc-sa-token'', ''fake'',"},
		},
		{[]string{"enable"}, 1, []string{"enable fake signs with a key of a test"}},
	} {
		expect(t, tc.args, tc.exit, tc.want)
	}
	showStatus(t, cluster, dir)
}

// showStatus wants the backend to be shown as that of the cluster. Its namespace has the RoleBinding without a right.
func showStatus(t *testing.T, cluster *verifytest.Cluster, dir string) {
	t.Helper()
	on, _, _, err := statusAnswers()
	if err != nil {
		t.Fatal(err)
	}
	on = maps.Clone(on)
	if err := addInstallation(on, signing.BackendFake); err != nil {
		t.Fatal(err)
	}
	fence, err := manifests.FenceVersion()
	if err != nil {
		t.Fatal(err)
	}
	grant := manifests.Grant(signing.BackendFake, "ci", fence)
	on["/apis/rbac.authorization.k8s.io/v1/rolebindings"] = mustJSON(
		rbacv1.RoleBindingList{Items: []rbacv1.RoleBinding{*grant}})
	server, err := newFakeServer(cluster, on)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	config := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(config, kubeconfig(server.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, []string{"status", "--kubeconfig", config}, 0, []string{"HEALTHY", "fake"})
}

// expect runs the plugin.
func expect(t *testing.T, args []string, exit int, want []string) {
	t.Helper()
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}
	got := Run(t.Context(), "kubectl-tekton_sign", args, streams)
	text := out.String() + errOut.String()
	if got != exit {
		t.Errorf("%v: got exit code %d, want %d:\n%s", args, got, exit, text)
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%v: want %q in\n%s", args, w, text)
		}
	}
}
