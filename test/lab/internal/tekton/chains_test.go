// SPDX-License-Identifier: Apache-2.0

package tekton

import (
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const chainsManifest = `
apiVersion: v1
kind: Secret
metadata: {name: signing-secrets, namespace: tekton-chains}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: chains-config, namespace: tekton-chains}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: tekton-chains-controller
  labels: {version: devel}
spec:
  template:
    spec:
      containers:
      - name: controller
        image: ko://github.com/tektoncd/chains/cmd/controller
`

func TestChainsManifests(t *testing.T) {
	release := ChainsRelease{Version: "v1.2.3", Image: "localhost/chains:v1.2.3", Key: []byte("key")}
	objects, err := ChainsManifests(fstest.MapFS{"config/all.yaml": {Data: []byte(chainsManifest)}}, release)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 3 {
		t.Fatalf("expected 3 objects, got %d", len(objects))
	}
	text := func(i int, fields ...string) string {
		value, _, err := unstructured.NestedString(objects[i].Object, fields...)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if got := text(0, "data", "x509.pem"); got != "a2V5" {
		t.Errorf("key: got %q", got)
	}
	if got := text(1, "data", "transparency.enabled"); got != "false" {
		t.Errorf("transparency log: expected none, got %q", got)
	}
	if got := text(2, "metadata", "labels", "version"); got != release.Version {
		t.Errorf("version: got %q", got)
	}
	containers, _, _ := unstructured.NestedSlice(objects[2].Object, "spec", "template", "spec", "containers")
	if got := containers[0].(map[string]any)["image"]; got != release.Image { //nolint:forcetypeassert // as written above
		t.Errorf("image: got %v", got)
	}
	if _, err := ChainsManifests(fstest.MapFS{}, release); err == nil {
		t.Error("a module without manifests gave no error")
	}
}

func TestWithoutChainsFinalizers(t *testing.T) {
	u := &unstructured.Unstructured{}
	u.SetFinalizers([]string{"foregroundDeletion", "chains.tekton.dev/taskrun", "tekton-sign.dev/chains"})
	got, err := withoutChainsFinalizers(u)
	if want := `{"metadata":{"finalizers":["foregroundDeletion","tekton-sign.dev/chains"]}}`; err != nil ||
		string(got) != want {
		t.Errorf("got %s and %v, want %s", got, err, want)
	}
}
