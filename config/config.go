// SPDX-License-Identifier: Apache-2.0

// Package config contains the manifests of the add-on. They are plain YAML, for kubectl apply -k. They are also
// embedded: the plugin sets their variable parts on the decoded objects, and the add-on compares the policies of its
// cluster with them.
package config

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

//go:embed [1-9]*.yaml
var files embed.FS

// Objects decodes every manifest into its typed object, in the order in which to apply them. Unknown fields and
// duplicate keys are errors.
func Objects() ([]runtime.Object, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("listing the manifests: %w", err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for _, entry := range entries {
		content, err := files.ReadFile(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("reading the manifest: %w", err)
		}
		reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
		for {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("reading manifest %s: %w", entry.Name(), err)
			}
			object, _, err := decoder.Decode(bytes.TrimSpace(document), nil, nil)
			if err != nil {
				return nil, fmt.Errorf("decoding manifest %s: %w", entry.Name(), err)
			}
			objects = append(objects, object)
		}
	}
	return objects, nil
}
