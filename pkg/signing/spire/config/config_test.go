// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tektonconfig "github.com/tektoncd/pipeline/pkg/apis/config"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// TestParseIsTektons compares our parser with Tekton's own.
func TestParseIsTektons(t *testing.T) {
	for name, data := range map[string]map[string]string{
		"defaults": nil,
		"all keys": {
			"spire-trust-domain": "ci.example", "spire-socket-path": "unix:///run/agent.sock",
			"spire-server-addr": "10.0.0.1:8081", "spire-node-alias-prefix": "/node/", "_example": "x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := tektonconfig.NewSpireConfigFromMap(data)
			if err != nil {
				t.Fatal(err)
			}
			got, err := config.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{want.TrustDomain, want.SocketPath, want.ServerAddr, want.NodeAliasPrefix},
				[]string{got.TrustDomain, got.SocketPath, got.ServerAddr, got.NodeAliasPrefix}); diff != "" {
				t.Errorf("configurations differ (-Tekton +ours):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for key, values := range map[string][]string{
		"spire-trust-domain": {"", "spiffe://example.org", "Example.org", "a b", "example.org/x"},
		"spire-socket-path": {
			"", "/run/agent.sock", "tcp://127.0.0.1:1", "unix://run/agent.sock", "unix:///", "unix:///a/../b",
		},
		"spire-server-addr":       {"", "host", ":8081", "host:"},
		"spire-node-alias-prefix": {"", "node/", "/node//", "/no de/"},
	} {
		for _, value := range values {
			_, err := config.Parse(map[string]string{key: value})
			if err == nil || !strings.Contains(err.Error(), "key "+key+": expected") {
				t.Errorf("%s=%q: got %v", key, value, err)
			}
		}
	}
}

func TestStep(t *testing.T) {
	c, err := config.Parse(map[string]string{"spire-socket-path": "unix:///run/x/agent.sock"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Step(), (step.SPIRE{TrustDomain: "example.org", Socket: "agent.sock"}); got != want {
		t.Errorf("expected %+v, got %+v", want, got)
	}
	if got, want := c.ServerID(), "spiffe://example.org/spire/server"; got != want {
		t.Errorf("expected %s, got %s", want, got)
	}
}
