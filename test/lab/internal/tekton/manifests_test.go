// SPDX-License-Identifier: Apache-2.0

package tekton

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const deployment = `# a comment
apiVersion: apps/v1
kind: Deployment
metadata:
  name: controller
  labels: {app.kubernetes.io/version: "devel", version: "devel"}
spec:
  template:
    metadata:
      labels: {pipeline.tekton.dev/release: "devel"}
    spec:
      containers:
      - name: devel
        image: ko://github.com/tektoncd/pipeline/cmd/controller
        args: ["-nop-image", "ko://github.com/tektoncd/pipeline/cmd/nop", "-shell-image", "example.org/sh@sha256:00"]
---
---
apiVersion: v1
kind: Service
metadata: {name: controller}
`

func module() fstest.MapFS {
	return fstest.MapFS{
		"config/controller.yaml": {Data: []byte(deployment)},
		"config/config-info.yaml": {Data: []byte(
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: pipelines-info}\ndata: {version: devel}\n")},
		"config/events.yaml":                      {Data: []byte("kind: Deployment\nmetadata: {name: events}\n")},
		"config/webhook-hpa.yaml":                 {Data: []byte("kind: HorizontalPodAutoscaler\nmetadata: {name: hpa}\n")},
		"config/100-namespace/100-namespace.yaml": {Data: []byte("kind: Namespace\nmetadata: {name: tekton-pipelines}\n")},
		"config/300-crds/300-taskrun.yaml": {Data: []byte(
			"kind: CustomResourceDefinition\nmetadata: {name: taskruns.tekton.dev}\n")},
		"config/resolvers/deployment.yaml": {Data: []byte("kind: Deployment\nmetadata: {name: resolvers}\n")},
	}
}

func release() Release {
	return Release{Version: "v1.15.0", Shell: "busybox:1",
		Images: map[string]string{"controller": "localhost/controller:1", "nop": "localhost/nop:1"}}
}

func TestManifests(t *testing.T) {
	objects, err := Manifests(module(), release())
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, object := range objects {
		order = append(order, object.GetKind()+"/"+object.GetName())
	}
	want := []string{"Namespace/tekton-pipelines", "CustomResourceDefinition/taskruns.tekton.dev",
		"ConfigMap/pipelines-info", "Deployment/controller", "Service/controller"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"version": "v1.15.0"}, objects[2].Object["data"]); diff != "" {
		t.Errorf("pipelines-info (-want +got):\n%s", diff)
	}
	var wantDeployment map[string]any
	if err := yaml.Unmarshal([]byte(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: controller
  labels: {app.kubernetes.io/version: v1.15.0, version: v1.15.0}
spec:
  template:
    metadata:
      labels: {pipeline.tekton.dev/release: v1.15.0}
    spec:
      containers:
      - name: devel
        image: localhost/controller:1
        args: ["-nop-image", "localhost/nop:1", "-shell-image", "busybox:1"]
`), &wantDeployment); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantDeployment, objects[3].Object); diff != "" {
		t.Errorf("deployment (-want +got):\n%s", diff)
	}
}

func TestManifestsFail(t *testing.T) {
	tests := map[string]struct {
		change func(fstest.MapFS)
		want   string
	}{
		"image without a build": {
			change: func(m fstest.MapFS) {
				m["config/controller.yaml"].Data = []byte(strings.ReplaceAll(deployment, "cmd/nop", "cmd/other"))
			},
			want: "no image for ko://github.com/tektoncd/pipeline/cmd/other",
		},
		"not YAML": {
			change: func(m fstest.MapFS) { m["config/broken.yaml"] = &fstest.MapFile{Data: []byte("a: [")} },
			want:   "tekton manifest config/broken.yaml",
		},
		"no files": {change: func(m fstest.MapFS) { clear(m) }, want: "expected config/*.yaml"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			files := module()
			test.change(files)
			_, err := Manifests(files, release())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error: expected %q in it, got %v", test.want, err)
			}
		})
	}
}
