// SPDX-License-Identifier: Apache-2.0

// Package image packs local files as container images. The same input gives the same bytes: files are sorted, and
// times are zero.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec says what an image holds.
type Spec struct {
	// Files maps a path in the image, starting with a slash, to a file of this machine.
	Files map[string]string
	// Texts maps a path in the image to a small file's content.
	Texts map[string]string
	// Links maps a path in the image to what a symbolic link there points to.
	Links map[string]string
	// Folders are made with mode 1777, as /tmp is.
	Folders []string
	// Entrypoint, Env and User become the image's configuration. An empty User is root.
	Entrypoint []string
	Env        []string
	User       string
}

// Build makes a one-layer image for this machine's architecture.
func Build(spec Spec) (v1.Image, error) {
	layer, err := pack(spec)
	if err != nil {
		return nil, err
	}
	// Not compressed: the image never travels, and unpacking is part of every start of the lab.
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		static.NewLayer(layer, types.OCIUncompressedLayer))
	if err != nil {
		return nil, fmt.Errorf("build an image: %w", err)
	}
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("build an image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: spec.Entrypoint, Env: spec.Env, User: spec.User}
	return mutate.ConfigFile(image, config)
}

func pack(spec Spec) ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, folder := range folders(spec) {
		mode := int64(0o755)
		if slices.Contains(spec.Folders, "/"+folder) {
			mode = 0o1777
		}
		header := &tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: mode}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	for _, target := range slices.Sorted(maps.Keys(spec.Files)) {
		data, err := os.ReadFile(spec.Files[target])
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", target, err)
		}
		if err := writeFile(archive, target, 0o755, data); err != nil {
			return nil, err
		}
	}
	for _, target := range slices.Sorted(maps.Keys(spec.Texts)) {
		if err := writeFile(archive, target, 0o644, []byte(spec.Texts[target])); err != nil {
			return nil, err
		}
	}
	for _, target := range slices.Sorted(maps.Keys(spec.Links)) {
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: target[1:], Linkname: spec.Links[target], Mode: 0o777}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func writeFile(archive *tar.Writer, target string, mode int64, data []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: target[1:], Mode: mode, Size: int64(len(data))}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("pack %s: %w", target, err)
	}
	_, err := archive.Write(data)
	return err
}

// folders lists every folder the layer needs, parents first, without the leading slash.
func folders(spec Spec) []string {
	needed := map[string]bool{}
	add := func(folder string) {
		for ; folder != "/"; folder = path.Dir(folder) {
			needed[strings.TrimPrefix(folder, "/")] = true
		}
	}
	for _, folder := range spec.Folders {
		add(folder)
	}
	for _, files := range []map[string]string{spec.Files, spec.Texts, spec.Links} {
		for target := range files {
			add(path.Dir(target))
		}
	}
	return slices.Sorted(maps.Keys(needed))
}
