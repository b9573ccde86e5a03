// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func example(t *testing.T) Spec {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Spec{
		Files:      map[string]string{"/usr/bin/program": file},
		Texts:      map[string]string{"/etc/passwd": "root"},
		Links:      map[string]string{"/bin/sh": "/usr/bin/program"},
		Folders:    []string{"/tmp"},
		Entrypoint: []string{"/usr/bin/program", "-x"},
		Env:        []string{"A=b"},
		User:       "65532",
	}
}

func build(t *testing.T, spec Spec) v1.Image {
	t.Helper()
	image, err := Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

type entry struct {
	Kind    byte
	Mode    int64
	Content string
}

func readTar(t *testing.T, r io.Reader) (entries map[string]entry, order []string) {
	t.Helper()
	entries = map[string]entry{}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries, order
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		entries[header.Name] = entry{header.Typeflag, header.Mode, string(content) + header.Linkname}
		order = append(order, header.Name)
	}
}

func TestBuild(t *testing.T) {
	image := build(t, example(t))
	if err := validate.Image(image, validate.Fast); err != nil {
		t.Errorf("expected a valid image, got %v", err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("expected one layer, got %d, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	got, order := readTar(t, content)
	want := map[string]entry{
		"bin/":            {tar.TypeDir, 0o755, ""},
		"etc/":            {tar.TypeDir, 0o755, ""},
		"tmp/":            {tar.TypeDir, 0o1777, ""},
		"usr/":            {tar.TypeDir, 0o755, ""},
		"usr/bin/":        {tar.TypeDir, 0o755, ""},
		"usr/bin/program": {tar.TypeReg, 0o755, "program"},
		"etc/passwd":      {tar.TypeReg, 0o644, "root"},
		"bin/sh":          {tar.TypeSymlink, 0o777, "/usr/bin/program"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
	if len(order) != len(want) {
		t.Errorf("entries: expected each once, got %v", order)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	wantConfig := v1.Config{Entrypoint: []string{"/usr/bin/program", "-x"}, Env: []string{"A=b"}, User: "65532"}
	if diff := cmp.Diff(wantConfig, config.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestBuildIsReproducible(t *testing.T) {
	spec := example(t)
	var archives [2]bytes.Buffer
	for i := range archives {
		if err := WriteArchive(&archives[i], build(t, spec), []string{"localhost/a:1"}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0].Bytes(), archives[1].Bytes()) {
		t.Error("built twice: expected the same bytes, got different ones")
	}
	first, _ := build(t, spec).Digest()
	spec.User = ""
	if other, _ := build(t, spec).Digest(); other == first {
		t.Errorf("other user: expected another digest, got %s twice", first)
	}
}

func TestBuildNamesTheMissingFile(t *testing.T) {
	_, err := Build(Spec{Files: map[string]string{"/signer": "/does/not/exist"}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("expected that the file does not exist, got %v", err)
	}
}

func TestWriteArchive(t *testing.T) {
	image := build(t, example(t))
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"localhost/a:1", "localhost/a@" + digest.String()}
	var archive bytes.Buffer
	if err := WriteArchive(&archive, image, names); err != nil {
		t.Fatal(err)
	}
	entries, _ := readTar(t, &archive)
	var index v1.IndexManifest
	if err := json.Unmarshal([]byte(entries["index.json"].Content), &index); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, manifest := range index.Manifests {
		if manifest.Digest != digest {
			t.Errorf("manifest: expected %s, got %s", digest, manifest.Digest)
		}
		got = append(got, manifest.Annotations[nameAnnotation])
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	raw, _ := image.RawManifest()
	if entries["blobs/sha256/"+digest.Hex].Content != string(raw) {
		t.Error("manifest blob: expected the image's manifest, got something else")
	}
	if len(entries) != 5 { // layout, index, manifest, configuration, layer
		t.Errorf("entries: expected 5, got %d", len(entries))
	}
}

func TestNames(t *testing.T) {
	image := build(t, Spec{Texts: map[string]string{"/a": "b"}})
	digest, _ := image.Digest()
	tests := map[string]string{ // reference: repository, or empty for an error
		"ghcr.io/tekton-sign/signer:dev": "ghcr.io/tekton-sign/signer",
		"localhost/tekton/nop:v1":        "localhost/tekton/nop",
		"docker.io/library/busybox:1":    "docker.io/library/busybox",
		"busybox:1":                      "docker.io/library/busybox",
		"UPPER/case:1":                   "",
		"repo@sha256:" + digest.Hex:      "",
		"":                               "",
	}
	for reference, repository := range tests {
		got, err := Names(reference, image)
		if repository == "" {
			if err == nil {
				t.Errorf("reference %q: expected an error, got %v", reference, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("reference %q: expected no error, got %v", reference, err)
			continue
		}
		tag := reference[strings.LastIndex(reference, ":"):]
		want := []string{repository + tag, repository + "@" + digest.String()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reference %q (-want +got):\n%s", reference, diff)
		}
	}
}
