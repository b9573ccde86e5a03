// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// kustomization is the file that makes a folder a base of kustomize.
const kustomization = "kustomization.yaml"

// renderedMark begins a kustomization.yaml that enable has written, so that enable may replace it.
const renderedMark = "# Written by kubectl tekton-sign enable --render, which replaces the files listed here.\n"

// render writes a folder that kubectl apply -k takes: a file for each object, in the order in which they are applied.
func render(folder string, objects []*unstructured.Unstructured) error {
	if err := clearRendered(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	var names []string
	for i, object := range objects {
		content, err := yaml.Marshal(object.Object)
		if err != nil {
			return fmt.Errorf("encoding a manifest: %w", err)
		}
		name := renderedName(i, object)
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil { // #nosec G306 -- no secret
			return err
		}
		names = append(names, name)
	}
	list, err := yaml.Marshal(map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": names,
		// kustomize would put kinds first that it knows, and so the webhooks before what serves them
		"sortOptions": map[string]any{"order": "fifo"},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, kustomization), append([]byte(renderedMark), list...), 0o644) // #nosec G306
}

// rendered matches the names that renderedName makes.
var rendered = regexp.MustCompile(`^[0-9]{3}-[a-z0-9-]+\.yaml$`)

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

func renderedName(i int, object *unstructured.Unstructured) string {
	name := notInNames.ReplaceAllString(strings.ToLower(object.GetKind()+"-"+object.GetName()), "-")
	return fmt.Sprintf("%03d-%s.yaml", i, name)
}

// clearRendered removes what an earlier run wrote, and refuses a folder with anything else in it.
func clearRendered(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(folder, kustomization)) // #nosec G304 -- the user names the folder
	if err != nil || !bytes.HasPrefix(data, []byte(renderedMark)) {
		return fmt.Errorf("--render: folder %s is not empty, and enable did not write its %s: name a new folder",
			folder, kustomization)
	}
	var list struct {
		Resources []string `json:"resources"`
	}
	if err := yaml.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("--render: %s: %w", filepath.Join(folder, kustomization), err)
	}
	for _, name := range list.Resources {
		if !rendered.MatchString(name) {
			return fmt.Errorf("--render: %s names %q, which enable does not: name a new folder",
				filepath.Join(folder, kustomization), name)
		}
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
