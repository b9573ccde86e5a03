// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

var (
	//go:embed files/containerd.toml
	containerdConfig string
	//go:embed files/kubelet.yaml
	kubeletConfig string
	//go:embed files/cni.conflist
	cniConfig string
	//go:embed files/hosts
	hosts string
	//go:embed files/resolv.conf
	resolvConf string
)

// WriteFiles writes the components' configuration into the state folder.
func WriteFiles(l Layout) error {
	for path, text := range map[string]string{
		"containerd.toml":     containerdConfig,
		"kubelet.yaml":        kubeletConfig,
		"cni/10-lab.conflist": cniConfig,
		"hosts":               hosts,
		"resolv.conf":         resolvConf,
	} {
		content, err := render(l, path, text)
		if err != nil {
			return err
		}
		target := l.Etc(path)
		if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(target, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func render(l Layout, name, text string) ([]byte, error) {
	parsed, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse the template of %s: %w", name, err)
	}
	values := struct {
		Layout
		PodNetwork, PauseImage, DNSService string
	}{l, PodNetwork.String(), PauseImage, DNSService.String()}
	var out bytes.Buffer
	if err := parsed.Execute(&out, values); err != nil {
		return nil, fmt.Errorf("fill in %s: %w", name, err)
	}
	return out.Bytes(), nil
}
