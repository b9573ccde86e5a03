// SPDX-License-Identifier: Apache-2.0

package tekton

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/manifest"
)

// Module path, namespace and Deployment of Tekton Chains.
const (
	ChainsModule     = "github.com/tektoncd/chains"
	ChainsNamespace  = "tekton-chains"
	ChainsDeployment = "tekton-chains-controller"
)

// ChainsRelease says what Chains' own release process and its operator would fill into its manifests.
type ChainsRelease struct {
	Version string // such as v0.26.0
	Image   string // of the controller
	Key     []byte // with which it signs: PKCS #8 in PEM
}

// chainsSettings keep signing within the cluster: attestations become annotations, and no log is written to.
func chainsSettings() map[string]any {
	return map[string]any{
		"artifacts.taskrun.format":      "slsa/v1",
		"artifacts.taskrun.storage":     "tekton",
		"artifacts.pipelinerun.format":  "slsa/v1",
		"artifacts.pipelinerun.storage": "tekton",
		"artifacts.oci.storage":         "",
		"transparency.enabled":          "false",
	}
}

// ChainsManifests reads the manifests from the files of Chains' module, in the order in which they are to be applied.
func ChainsManifests(module fs.FS, release ChainsRelease) ([]*unstructured.Unstructured, error) {
	files, err := fs.Glob(module, "config/*.yaml")
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, file := range files {
		data, err := fs.ReadFile(module, file)
		if err != nil {
			return nil, err
		}
		objects, err := manifest.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("manifest of Chains %s: %w", file, err)
		}
		for _, object := range objects {
			if err := fillInChains(object, release); err != nil {
				return nil, fmt.Errorf("manifest of Chains %s: %w", file, err)
			}
		}
		all = append(all, objects...)
	}
	if len(all) == 0 {
		return nil, errors.New("the module of Chains has no manifests: expected config/*.yaml")
	}
	return all, nil
}

// chainsFinalizerPrefix begins the finalizers that Chains puts on what it follows.
const chainsFinalizerPrefix = "chains.tekton.dev/"

// DropChainsFinalizers takes the finalizers of Chains, when it is gone, from all TaskRuns and PipelineRuns.
func DropChainsFinalizers(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	for _, name := range []string{"taskruns", "pipelineruns"} {
		resource := client.Resource(schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: name})
		list, err := resource.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, item := range list.Items {
			patch, err := withoutChainsFinalizers(&item)
			if err != nil {
				return err
			}
			_, err = resource.Namespace(item.GetNamespace()).Patch(ctx, item.GetName(), types.MergePatchType, patch,
				metav1.PatchOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("finalizers of %s %s: %w", item.GetKind(), item.GetName(), err)
			}
		}
	}
	return nil
}

// withoutChainsFinalizers is a JSON merge patch.
func withoutChainsFinalizers(u *unstructured.Unstructured) ([]byte, error) {
	kept := slices.DeleteFunc(u.GetFinalizers(),
		func(f string) bool { return strings.HasPrefix(f, chainsFinalizerPrefix) })
	return json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": kept}})
}

func fillInChains(object *unstructured.Unstructured, release ChainsRelease) error {
	setVersions(object.Object, release.Version)
	switch object.GetKind() + " " + object.GetName() {
	case "ConfigMap chains-config":
		return unstructured.SetNestedMap(object.Object, chainsSettings(), "data")
	case "Secret signing-secrets":
		key := base64.StdEncoding.EncodeToString(release.Key)
		return unstructured.SetNestedField(object.Object, key, "data", "x509.pem")
	case "Deployment " + ChainsDeployment:
		containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		if err != nil {
			return err
		}
		container, ok := map[string]any(nil), false
		if len(containers) == 1 {
			container, ok = containers[0].(map[string]any)
		}
		if !ok {
			return fmt.Errorf("deployment %s: expected one container, got %d", object.GetName(), len(containers))
		}
		container["image"] = release.Image
		return unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers")
	}
	return nil
}
