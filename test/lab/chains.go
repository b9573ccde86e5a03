// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
)

func (l *Lab) addChains(ctx context.Context) error {
	if _, err := l.init(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	release, err := l.loadChains(ctx)
	if err != nil {
		return err
	}
	return l.progress.run("chains "+release.Version, func() error { return l.applyChains(ctx, release) })
}

func (l *Lab) removeChains(ctx context.Context) error {
	if _, err := l.init(); err != nil {
		return err
	}
	folder, err := l.builder.ModuleDir(ctx, toolchain.Chains().Tools, tekton.ChainsModule)
	if err != nil {
		return err
	}
	objects, err := tekton.ChainsManifests(os.DirFS(folder), tekton.ChainsRelease{})
	if err != nil {
		return err
	}
	config, err := l.RESTConfig()
	if err != nil {
		return err
	}
	if err := tekton.Delete(ctx, config, objects); err != nil {
		return err
	}
	return tekton.DropChainsFinalizers(ctx, config)
}

// loadChains builds the controller, where that was not done before, and gives the node its image.
func (l *Lab) loadChains(ctx context.Context) (tekton.ChainsRelease, error) {
	binary := toolchain.Chains()
	path, err := l.build(ctx, binary)
	if err != nil {
		return tekton.ChainsRelease{}, fmt.Errorf("build %s: %w", binary.Name, err)
	}
	version, err := l.builder.ModuleVersion(ctx, binary.Tools, binary.Module)
	if err != nil {
		return tekton.ChainsRelease{}, err
	}
	packed := commandArchive(chainsImage(version), binary.Name, path)
	file, err := packed.pack(l.folders.cache)
	if err != nil {
		return tekton.ChainsRelease{}, err
	}
	key, err := newSigningKey()
	if err != nil {
		return tekton.ChainsRelease{}, err
	}
	return tekton.ChainsRelease{Version: version, Image: chainsImage(version), Key: key}, l.importArchive(ctx, file)
}

func (l *Lab) applyChains(ctx context.Context, release tekton.ChainsRelease) error {
	folder, err := l.builder.ModuleDir(ctx, toolchain.Chains().Tools, tekton.ChainsModule)
	if err != nil {
		return err
	}
	objects, err := tekton.ChainsManifests(os.DirFS(folder), release)
	if err != nil {
		return err
	}
	config, err := l.RESTConfig()
	if err != nil {
		return err
	}
	if err := tekton.Apply(ctx, config, objects); err != nil {
		return err
	}
	return tekton.AwaitDeployments(ctx, config, tekton.ChainsNamespace, tekton.ChainsDeployment)
}

func chainsImage(version string) string { return "localhost/chains/controller:" + version }

// newSigningKey makes a P-256 key as Chains reads it: PKCS #8 in PEM.
func newSigningKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
