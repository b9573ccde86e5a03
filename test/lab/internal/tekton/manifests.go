// SPDX-License-Identifier: Apache-2.0

// Package tekton installs a stock Tekton Pipelines from the manifests in its Go module.
package tekton

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/manifest"
)

// Module is Tekton's module path, and Namespace where its release puts it.
const (
	Module    = "github.com/tektoncd/pipeline"
	Namespace = "tekton-pipelines"
)

// skipped are manifests a lab does without. The events controller sends CloudEvents, and the pod autoscaler wants a
// metrics server: neither has anything to do with results. The resolvers are in a folder of their own, which is not
// read: they fetch from places that a lab cannot reach.
var skipped = []string{"config/events.yaml", "config/webhook-hpa.yaml"}

// Release says what Tekton's own release process would fill into its manifests.
type Release struct {
	Version string // such as v1.15.0
	// Images maps the name of a command under cmd/ to its image.
	Images map[string]string
	// Shell is the image that runs step scripts and init containers.
	Shell string
}

// Manifests reads the manifests from the module's files, in the order in which they are to be applied.
func Manifests(module fs.FS, release Release) ([]*unstructured.Unstructured, error) {
	var files []string
	for _, pattern := range []string{"config/100-namespace/*.yaml", "config/300-crds/*.yaml", "config/*.yaml"} {
		found, err := fs.Glob(module, pattern)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	var all []*unstructured.Unstructured
	for _, file := range files {
		if slices.Contains(skipped, file) {
			continue
		}
		data, err := fs.ReadFile(module, file)
		if err != nil {
			return nil, err
		}
		objects, err := manifest.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("tekton manifest %s: %w", file, err)
		}
		for _, object := range objects {
			if err := fillIn(object, release); err != nil {
				return nil, fmt.Errorf("tekton manifest %s: %w", file, err)
			}
		}
		all = append(all, objects...)
	}
	if len(all) == 0 {
		return nil, errors.New("tekton's module has no manifests: expected config/*.yaml")
	}
	return all, nil
}

// fillIn replaces what stands for a release: images by their import path, and versions called "devel".
func fillIn(object *unstructured.Unstructured, release Release) error {
	setVersions(object.Object, release.Version)
	if object.GetKind() == "ConfigMap" && object.GetName() == "pipelines-info" {
		return unstructured.SetNestedField(object.Object, release.Version, "data", "version")
	}
	if object.GetKind() != "Deployment" {
		return nil
	}
	containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	if err != nil {
		return err
	}
	for _, entry := range containers {
		container, ok := entry.(map[string]any)
		if !ok {
			return fmt.Errorf("container of %s: expected an object, got %T", object.GetName(), entry)
		}
		if err := fillInContainer(container, release); err != nil {
			return err
		}
	}
	return unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers")
}

func setVersions(value any, version string) {
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			if text, ok := child.(string); ok && text == "devel" && path.Base(key) != "name" {
				v[key] = version
				continue
			}
			setVersions(child, version)
		}
	case []any:
		for _, child := range v {
			setVersions(child, version)
		}
	}
}

func fillInContainer(container map[string]any, release Release) error {
	image, err := resolve(container["image"], release)
	if err != nil {
		return err
	}
	container["image"] = image
	args, _ := container["args"].([]any)
	for i := range args {
		if i > 0 && args[i-1] == "-shell-image" {
			args[i] = release.Shell
			continue
		}
		if args[i], err = resolve(args[i], release); err != nil {
			return err
		}
	}
	return nil
}

// resolve replaces a reference such as ko://github.com/tektoncd/pipeline/cmd/nop, as the tool ko would.
func resolve(value any, release Release) (any, error) {
	text, _ := value.(string)
	command, ok := strings.CutPrefix(text, "ko://"+Module+"/cmd/")
	if !ok {
		return value, nil
	}
	image, ok := release.Images[command]
	if !ok {
		return nil, fmt.Errorf("no image for %s", text)
	}
	return image, nil
}
