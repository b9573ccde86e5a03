// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	yamlv3 "go.yaml.in/yaml/v3"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// splitYAML returns the JSON form of every document in data that is not empty.
func splitYAML(data []byte) ([][]byte, error) {
	var documents [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		empty, err := checkYAML(text)
		if err != nil {
			return nil, fmt.Errorf("document %d is no plain YAML: %w", n, err)
		}
		if empty {
			continue
		}
		// kubectl reads YAML with this library, so that an object means here what it means there.
		document, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return nil, fmt.Errorf("document %d is no plain YAML: %w", n, err)
		}
		documents = append(documents, document)
	}
}

// checkYAML refuses what plain data does not need and what two readers may understand in two ways: aliases, anchors, merge
// keys, tags, and a second document behind an end mark. It reports whether the text holds nothing but comments.
func checkYAML(text []byte) (empty bool, err error) {
	decoder := yamlv3.NewDecoder(bytes.NewReader(text))
	var node yamlv3.Node
	if err := decoder.Decode(&node); errors.Is(err, io.EOF) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	if err := decoder.Decode(new(yamlv3.Node)); !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("more than one document without --- between them")
	}
	if err := checkNode(&node, 0); err != nil {
		return false, err
	}
	root := node.Content[0]
	return root.Kind == yamlv3.ScalarNode && root.Tag == "!!null" && root.Value == "", nil
}

func checkNode(n *yamlv3.Node, depth int) error {
	switch {
	case depth > strictjson.MaxDepth+1: // the document itself is a level
		return fmt.Errorf("line %d: nested deeper than %d levels", n.Line, strictjson.MaxDepth)
	case n.Kind == yamlv3.AliasNode:
		return fmt.Errorf("line %d: alias *%s: write the value itself", n.Line, n.Value)
	case n.Anchor != "":
		return fmt.Errorf("line %d: anchor &%s: write the value itself", n.Line, n.Anchor)
	case n.Style&yamlv3.TaggedStyle != 0:
		return fmt.Errorf("line %d: tag %s: write a plain value", n.Line, n.Tag)
	}
	for i, child := range n.Content {
		if n.Kind == yamlv3.MappingNode && i%2 == 0 {
			if child.Kind != yamlv3.ScalarNode || child.Tag == "!!merge" {
				return fmt.Errorf("line %d: expected a plain key", child.Line)
			}
		}
		if err := checkNode(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}
