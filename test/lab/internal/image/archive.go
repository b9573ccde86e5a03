// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nameAnnotation is how containerd's importer learns an image's full name.
const nameAnnotation = "io.containerd.image.name"

// Names are the full names an image gets: the given tag, and the same repository with the image's digest, so that
// manifests which pin digests find it too.
func Names(reference string, image v1.Image) ([]string, error) {
	tag, err := name.NewTag(reference)
	if err != nil {
		return nil, fmt.Errorf("image reference %q: expected REPOSITORY:TAG: %w", reference, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	repository := familiarHost(tag.Context().Name())
	return []string{repository + ":" + tag.TagStr(), repository + "@" + digest.String()}, nil
}

// familiarHost gives names without a host the one that containerd and the kubelet give them.
func familiarHost(repository string) string {
	if rest, ok := strings.CutPrefix(repository, name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest
	}
	return repository
}

// WriteArchive writes an image as an OCI image layout in a tar archive (OCI image specification v1.1), under names.
func WriteArchive(w io.Writer, image v1.Image, names []string) error {
	blobs, err := collect(image)
	if err != nil {
		return err
	}
	index, err := indexFor(image, names)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	files := append([]blob{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
	}, blobs...)
	for _, file := range files {
		if err := writeFile(archive, "/"+file.name, 0o644, file.data); err != nil {
			return err
		}
	}
	return archive.Close()
}

type blob struct {
	name string
	data []byte
}

func collect(image v1.Image) ([]blob, error) {
	manifest, err := image.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	configDigest, err := image.ConfigName()
	if err != nil {
		return nil, err
	}
	blobs := []blob{{blobName(digest), manifest}, {blobName(configDigest), config}}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		one, err := layerBlob(layer)
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, one)
	}
	return blobs, nil
}

func layerBlob(layer v1.Layer) (blob, error) {
	digest, err := layer.Digest()
	if err != nil {
		return blob{}, err
	}
	content, err := layer.Compressed()
	if err != nil {
		return blob{}, err
	}
	defer func() { _ = content.Close() }()
	data, err := io.ReadAll(content)
	return blob{blobName(digest), data}, err
}

func blobName(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

func indexFor(image v1.Image, names []string) ([]byte, error) {
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	size, err := image.Size()
	if err != nil {
		return nil, err
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, full := range names {
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Digest: digest, Size: size,
			Annotations: map[string]string{nameAnnotation: full},
		})
	}
	return json.Marshal(index)
}
