// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/pki"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
)

// loadSPIRE builds what was not built before, and gives the node the images.
func (l *Lab) loadSPIRE(ctx context.Context, settings *spire.Settings) error {
	if err := l.installPackages(ctx, missingOf(compilerPackages())); err != nil {
		return err
	}
	images := []spireImage{
		{toolchain.SPIREServer(), "/opt/spire/bin/spire-server", &settings.Images.Server},
		{toolchain.SPIREAgent(), spire.AgentPath, &settings.Images.Agent},
		{toolchain.SPIFFECSIDriver(), "/spiffe-csi-driver", &settings.Images.CSIDriver},
	}
	if settings.ControllerManager {
		images = append(images, spireImage{
			toolchain.SPIREControllerManager(), "/spire-controller-manager", &settings.Images.ControllerManager,
		})
	}
	for _, i := range images {
		if err := l.loadSPIREImage(ctx, i); err != nil {
			return err
		}
	}
	err := l.loadRegistrar(ctx, &settings.Images.Registrar)
	if err == nil && settings.Config == spire.Upstream {
		settings.Authority, err = l.upstreamAuthority()
	}
	return err
}

// spireImage is a binary, its path in its image, and where to put the image's reference.
type spireImage struct {
	binary    toolchain.Binary
	inside    string
	reference *string
}

func (l *Lab) loadSPIREImage(ctx context.Context, i spireImage) error {
	path, err := l.build(ctx, i.binary)
	if err != nil {
		return fmt.Errorf("build %s: %w", i.binary.Name, err)
	}
	version, err := l.builder.ModuleVersion(ctx, i.binary.Tools, i.binary.Module)
	if err != nil {
		return err
	}
	*i.reference = spireReference(i.binary.Name, version)
	return l.importSPIRE(ctx, *i.reference, i.inside, path)
}

// loadRegistrar builds the lab's own program that announces the CSI driver to the kubelet.
func (l *Lab) loadRegistrar(ctx context.Context, reference *string) error {
	path := filepath.Join(l.folders.cache, "bin", "csi-registrar-"+l.name)
	if err := toolchain.Compile(ctx, filepath.Join(l.builder.Tools, "csiregistrar"), ".", path); err != nil {
		return fmt.Errorf("build csi-registrar: %w", err)
	}
	*reference = spireReference("csi-registrar", "1")
	return l.importSPIRE(ctx, *reference, "/csi-registrar", path)
}

func spireReference(name, version string) string { return "localhost/spire/" + name + ":" + version }

func (l *Lab) importSPIRE(ctx context.Context, reference, inside, path string) error {
	packed := archive{[]string{reference}, Image{
		Files: map[string]string{inside: path}, Texts: map[string]string{"/etc/passwd": passwd, "/etc/group": group},
		Folders: []string{"/tmp"}, Entrypoint: []string{inside},
	}}
	file, err := packed.pack(l.folders.cache)
	if err != nil {
		return err
	}
	return l.importArchive(ctx, file)
}

// upstreamAuthority is made once, and goes with SPIRE's data.
func (l *Lab) upstreamAuthority() (spire.Authority, error) {
	folder := filepath.Join(l.spireData(), "upstream")
	names := []string{"tls.crt", "tls.key", "ca.crt"}
	if _, err := os.Stat(filepath.Join(folder, names[0])); err != nil {
		if err := writeUpstreamAuthority(folder, names); err != nil {
			return spire.Authority{}, err
		}
	}
	var content [3][]byte
	for i, name := range names {
		var err error
		if content[i], err = os.ReadFile(filepath.Join(folder, name)); err != nil {
			return spire.Authority{}, err
		}
	}
	return spire.Authority{Certificate: content[0], Key: content[1], Root: content[2]}, nil
}

func writeUpstreamAuthority(folder string, names []string) error {
	root, err := pki.NewAuthority("root of the lab", time.Now())
	if err != nil {
		return err
	}
	authority, err := root.Intermediate("authority above SPIRE")
	if err != nil {
		return err
	}
	key, err := authority.Key()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	// The certificate comes last: where it is, the others are.
	content := [][]byte{authority.Certificate(), key, root.Certificate()}
	for _, i := range []int{2, 1, 0} {
		if err := os.WriteFile(filepath.Join(folder, names[i]), content[i], 0o600); err != nil {
			return err
		}
	}
	return nil
}
