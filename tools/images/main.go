// SPDX-License-Identifier: Apache-2.0

// Command images builds the images of signer and controller with ko, for every platform, into an OCI layout, or
// pushes them to a registry. They have no base image: each holds one static binary, and runs as nobody. Two builds of
// the same commit have the same digests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/ko/pkg/build"
)

const (
	module  = "github.com/tekton-sign/kubectl-tekton-sign"
	nonroot = "65532"
)

// options are the flags.
type options struct {
	source    string // the checkout
	out       string // an OCI layout for each image is written below this folder
	version   string // of the release: the tag
	platforms string // comma-separated
	registry  string // where to push to; empty: nowhere
}

func main() {
	var o options
	flag.StringVar(&o.source, "source", ".", "the checkout")
	flag.StringVar(&o.out, "out", "dist/images", "folder for an OCI layout of each image")
	flag.StringVar(&o.version, "version", "v0.0.0-dev", "version of the release, which is also the tag")
	flag.StringVar(&o.platforms, "platforms", "linux/amd64,linux/arm64", "platforms, separated by commas")
	flag.StringVar(&o.registry, "push", "", "registry and path to push to as well, such as ghcr.io/tekton-sign")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, image := range []string{"signer", "controller"} {
		if err := o.image(ctx, image); err != nil {
			fmt.Fprintf(os.Stderr, "images: %s: %v\n", image, err)
			os.Exit(1)
		}
	}
}

// image builds one image, writes it and prints its digest.
func (o options) image(ctx context.Context, image string) error {
	index, err := o.build(ctx, image)
	if err != nil {
		return err
	}
	folder := filepath.Join(o.out, image)
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil {
		return err
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": o.version,
	})); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s@%s\n", image, digest)
	if o.registry == "" {
		return nil
	}
	tag, err := name.NewTag(o.registry + "/" + image + ":" + o.version)
	if err != nil {
		return err
	}
	return remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
}

// build compiles the command for each platform.
func (o options) build(ctx context.Context, image string) (v1.ImageIndex, error) {
	builder, err := build.NewGo(ctx, o.source,
		build.WithBaseImages(func(context.Context, string) (name.Reference, build.Result, error) {
			base, err := scratch(o.platforms)
			return name.MustParseReference("scratch"), base, err
		}),
		build.WithPlatforms(strings.Split(o.platforms, ",")...),
		build.WithTrimpath(true),
		build.WithDefaultEnv([]string{"CGO_ENABLED=0"}),
		build.WithDefaultFlags([]string{"-buildvcs=false"}), // a checkout without git builds the same image
		build.WithDefaultLdflags([]string{"-s", "-w", "-X", module + "/pkg/version.release=" + o.version}),
		build.WithUser(nonroot),
		build.WithLabel("org.opencontainers.image.source", "https://"+module),
		build.WithLabel("org.opencontainers.image.version", o.version),
		build.WithLabel("org.opencontainers.image.licenses", "Apache-2.0"),
		build.WithSPDX(o.version),
		build.WithSBOMDir(o.out),
		build.WithJobs(1),
	)
	if err != nil {
		return nil, err
	}
	path, err := builder.QualifyImport("./cmd/" + image)
	if err != nil {
		return nil, err
	}
	if err := builder.IsSupportedReference(path); err != nil {
		return nil, err
	}
	result, err := builder.Build(ctx, path)
	if err != nil {
		return nil, err
	}
	index, ok := result.(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("expected an image index, got %T: name two platforms at least", result)
	}
	return index, nil
}

// scratch is an empty image for each platform.
func scratch(platforms string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for platform := range strings.SplitSeq(platforms, ",") {
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			return nil, err
		}
		image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		image, err = mutate.ConfigFile(image, &v1.ConfigFile{
			OS: p.OS, Architecture: p.Architecture, RootFS: v1.RootFS{Type: "layers"},
		})
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: p}})
	}
	return index, nil
}
