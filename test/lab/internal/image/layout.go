// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// FromLayout returns the image for this machine out of an OCI layout with one image index.
func FromLayout(folder string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, fmt.Errorf("read the OCI layout %s: %w", folder, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read the OCI layout %s: %w", folder, err)
	}
	if n := len(manifest.Manifests); n != 1 {
		return nil, fmt.Errorf("OCI layout %s: expected one image index, got %d", folder, n)
	}
	platforms, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return nil, fmt.Errorf("read the OCI layout %s: %w", folder, err)
	}
	return forMachine(platforms)
}

func forMachine(index v1.ImageIndex) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	machine := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	for _, entry := range manifest.Manifests {
		if entry.Platform != nil && entry.Platform.Satisfies(machine) {
			return index.Image(entry.Digest)
		}
	}
	return nil, fmt.Errorf("the image index has no image for %s", machine)
}
