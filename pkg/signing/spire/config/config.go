// SPDX-License-Identifier: Apache-2.0

// Package config reads ConfigMap config-spire in Tekton's namespace, with the keys and defaults of Tekton
// Pipelines v1.15.0 (pkg/apis/config), but without Tekton's types: the signer's settings come from it.
package config

import (
	"fmt"
	"net"
	"path"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// ConfigMapName is the name of the ConfigMap.
const ConfigMapName = "config-spire"

// Keys of the ConfigMap.
const (
	KeyTrustDomain     = "spire-trust-domain"
	KeySocketPath      = "spire-socket-path" // of the agent, in a pod: unix:// and a path
	KeyServerAddr      = "spire-server-addr" // of SPIRE's server: host:port
	KeyNodeAliasPrefix = "spire-node-alias-prefix"
)

// Config is the parsed ConfigMap.
type Config struct {
	TrustDomain     string
	SocketPath      string
	ServerAddr      string
	NodeAliasPrefix string // of the SPIFFE ID of the entry that stands for the cluster's agents
}

// Default returns Tekton's defaults.
func Default() Config {
	return Config{
		TrustDomain: "example.org", SocketPath: "unix:///spiffe-workload-api/spire-agent.sock",
		ServerAddr: "spire-server.spire.svc.cluster.local:8081", NodeAliasPrefix: "/tekton-node/",
	}
}

// socketScheme begins the path of a socket, as in Tekton's own default.
const socketScheme = "unix://"

// Parse reads the data of the ConfigMap. Absent keys have Tekton's defaults. Keys that Tekton does not know
// are ignored, as Tekton ignores them.
func Parse(data map[string]string) (Config, error) {
	c := Default()
	for key, at := range map[string]*string{
		KeyTrustDomain: &c.TrustDomain, KeySocketPath: &c.SocketPath,
		KeyServerAddr: &c.ServerAddr, KeyNodeAliasPrefix: &c.NodeAliasPrefix,
	} {
		if value, ok := data[key]; ok {
			*at = value
		}
	}
	return c, c.validate()
}

func (c Config) validate() error {
	refuse := func(key, expected, got string) error {
		return fmt.Errorf("ConfigMap %s: key %s: expected %s, got %q", ConfigMapName, key, expected, got)
	}
	domain, err := spiffeid.TrustDomainFromString(c.TrustDomain)
	if err != nil || domain.Name() != c.TrustDomain {
		return refuse(KeyTrustDomain, "the name of a trust domain, such as example.org", c.TrustDomain)
	}
	socket, ok := strings.CutPrefix(c.SocketPath, socketScheme)
	if !ok || !path.IsAbs(socket) || path.Clean(socket) != socket || socket == "/" {
		return refuse(KeySocketPath, "a path such as "+Default().SocketPath, c.SocketPath)
	}
	if host, port, err := net.SplitHostPort(c.ServerAddr); err != nil || host == "" || port == "" {
		return refuse(KeyServerAddr, "host:port", c.ServerAddr)
	}
	if err := spiffeid.ValidatePath(c.NodeAliasPrefix + "x"); err != nil || !strings.HasPrefix(c.NodeAliasPrefix, "/") {
		return refuse(KeyNodeAliasPrefix, "the begin of a path, such as /tekton-node/", c.NodeAliasPrefix)
	}
	return nil
}

// Step returns what the signer of a step needs.
func (c Config) Step() step.SPIRE {
	return step.SPIRE{TrustDomain: c.TrustDomain, Socket: path.Base(c.SocketPath)}
}

// ServerID returns the SPIFFE ID of SPIRE's server.
func (c Config) ServerID() string { return "spiffe://" + c.TrustDomain + "/spire/server" }
