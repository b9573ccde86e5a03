// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
)

// parts are what a lab is made of.
type parts struct {
	binaries map[string]string // by name
	archives []string          // images
	tekton   tekton.Release
}

// Build builds and packs everything into the cache, and starts nothing.
func (l *Lab) Build(ctx context.Context) error {
	if err := Check(); err != nil {
		return err
	}
	_, err := l.prepare(ctx)
	return err
}

func (l *Lab) prepare(ctx context.Context) (parts, error) {
	if err := l.installPackages(ctx, missingPackages()); err != nil {
		return parts{}, err
	}
	binaries, err := l.buildAll(ctx, slices.Concat(
		toolchain.Etcd(), toolchain.Containerd(), toolchain.Kubernetes(), toolchain.Tekton(),
	))
	if err != nil {
		return parts{}, err
	}
	p := parts{binaries: binaries}
	return p, l.progress.run("images", func() error { return l.packImages(ctx, &p) })
}

func (l *Lab) build(ctx context.Context, binary toolchain.Binary) (string, error) {
	end := func(string) {}
	path, err := l.builder.Build(ctx, binary, func(version string) {
		l.progress.say("  building %s %s, once", binary.Name, version)
		end = l.progress.begin(binary.Name + " " + version)
	})
	if err != nil {
		end("failed")
		return "", err
	}
	end("built")
	return path, nil
}

// installPackages asks apt-get for what is missing.
func (l *Lab) installPackages(ctx context.Context, missing []aptPackage) error {
	if len(missing) == 0 {
		return nil
	}
	args := []string{"install", "--yes", "--no-install-recommends"}
	for _, p := range missing {
		args = append(args, p.name)
	}
	return l.progress.run(fmt.Sprintf("Debian packages %v", args[3:]), func() error {
		for _, line := range [][]string{{"update"}, args} {
			command := exec.CommandContext(ctx, "apt-get", line...)
			command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if out, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("apt-get %s: %w: %s", line[0], err, lastBytes(out, 500))
			}
		}
		return nil
	})
}

func (l *Lab) packImages(ctx context.Context, p *parts) error {
	version, err := l.builder.ModuleVersion(ctx, "tekton", tekton.Module)
	if err != nil {
		return err
	}
	pause := filepath.Join(l.folders.cache, "bin", "pause-"+l.name)
	if err := toolchain.Compile(ctx, l.project, "./test/lab/images/pause", pause); err != nil {
		return err
	}
	busybox, err := busyboxArchive(ctx, staticBinary("busybox"), staticBinary("bash-static"))
	if err != nil {
		return err
	}
	all := []archive{pauseArchive(pause), busybox}
	p.tekton = tekton.Release{Version: version, Images: map[string]string{}, Shell: BusyboxImage}
	for _, binary := range toolchain.Tekton() {
		all = append(all, tektonArchive(binary.Name, version, p.binaries[binary.Name]))
		p.tekton.Images[binary.Name] = tektonImage(binary.Name, version)
	}
	for _, a := range all {
		path, err := a.pack(l.folders.cache)
		if err != nil {
			return err
		}
		p.archives = append(p.archives, path)
	}
	return nil
}
