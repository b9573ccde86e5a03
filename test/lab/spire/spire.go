// SPDX-License-Identifier: Apache-2.0

// Package spire knows the SPIRE of a lab: the manifests it runs from, and how an operator uses it, by kubectl and the
// commands of spire-server.
//
//	d, err := l.AddSPIRE(ctx, lab.SPIREOptions{})  // see package lab
//	id, err := d.Server.CreateEntry(ctx, spire.Entry{…})
//	bundle, err := d.Server.Bundle(ctx)
//	err = d.Agent.Stop(ctx)
package spire

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// The ways in which a lab runs SPIRE.
const (
	// Plain is one server with an authority of its own, and SPIRE's usual lifetimes.
	Plain = "plain"
	// Upstream has an authority above SPIRE's: chains have two intermediate certificates.
	Upstream = "upstream"
	// Federated has a second server, of another trust domain; each knows the other's bundle.
	Federated = "federated"
	// Short has an authority that lives for CATTL, and SVIDs that live for SVIDTTL.
	Short = "short"
)

// Configs are all of them.
func Configs() []string { return []string{Plain, Upstream, Federated, Short} }

// Lifetimes of the configuration Short. A new authority signs after five sixths of CATTL.
const (
	CATTL   = "3m"
	SVIDTTL = "30s"
)

// What operators choose when they install SPIRE, and must repeat to those who use it.
const (
	Namespace  = "spire"
	Cluster    = "lab"                                       // as node attestation names it
	Driver     = "csi.spiffe.io"                             // of volumes with the Workload API's socket
	Socket     = "spire-agent.sock"                          // in such a volume
	SocketPath = "/run/spire/agent-sockets/spire-agent.sock" // on the node
	BundleKey  = "bundle.crt"                                // in the ConfigMap of a bundle
	AgentPath  = "/opt/spire/bin/spire-agent"                // in the image of the agent
	serverPath = "/opt/spire/bin/spire-server"               // in the image of the server
)

// TrustDomain is the lab's own.
func TrustDomain() spiffeid.TrustDomain { return spiffeid.RequireTrustDomainFromString("lab.test") }

// ForeignTrustDomain is the one of the second server in the configuration Federated.
func ForeignTrustDomain() spiffeid.TrustDomain {
	return spiffeid.RequireTrustDomainFromString("foreign.test")
}

// NodeAlias stands for all agents of the cluster. Entries with this parent reach each of them.
func NodeAlias() spiffeid.ID { return spiffeid.RequireFromPath(TrustDomain(), "/tekton-sign/nodes") }

// ControllerID is the SPIFFE ID of the add-on's controller, which may administer entries.
func ControllerID() spiffeid.ID {
	return spiffeid.RequireFromPath(TrustDomain(), "/tekton-sign/controller")
}

// AdminEntries are what an operator registers before the add-on can use SPIRE: the alias of the cluster's agents, and
// the add-on's controller with the right to make entries.
func AdminEntries() []Entry {
	return []Entry{
		{SPIFFEID: NodeAlias(), Node: true, Selectors: []string{"k8s_psat:cluster:" + Cluster}},
		{SPIFFEID: ControllerID(), Parent: NodeAlias(), Admin: true,
			Selectors: []string{"k8s:ns:tekton-sign", "k8s:sa:controller"}},
	}
}

// Ports on the node.
const (
	serverPort, bundlePort, healthPort                      = 8081, 8443, 8082
	foreignServerPort, foreignBundlePort, foreignHealthPort = 8091, 8453, 8092
	agentHealthPort, managerHealthPort, webhookPort         = 8083, 8084, 9443
)

// Deployment is the SPIRE of a lab.
type Deployment struct {
	// Server is the lab's own, Foreign the one of the configuration Federated, nil elsewhere.
	Server  *Server
	Foreign *Server
	// Agent runs on the node, and CSIDriver mounts its socket.
	Agent     Workload
	CSIDriver Workload

	kubectl Kubectl
}

// NewDeployment uses the SPIRE that runs with a configuration on the node with an address.
func NewDeployment(kubectl Kubectl, node netip.Addr, config string) *Deployment {
	d := &Deployment{
		kubectl: kubectl,
		Server: &Server{
			Workload: Workload{kubectl, "statefulset", "spire-server"}, TrustDomain: TrustDomain(),
			Address:        netip.AddrPortFrom(node, serverPort).String(),
			BundleEndpoint: "https://" + netip.AddrPortFrom(node, bundlePort).String(),
			ConfigMap:      bundleConfigMap,
		},
		Agent:     Workload{kubectl, "daemonset", "spire-agent"},
		CSIDriver: Workload{kubectl, "daemonset", "spiffe-csi-driver"},
	}
	if config == Federated {
		d.Foreign = &Server{
			Workload: Workload{kubectl, "statefulset", "spire-server-foreign"}, TrustDomain: ForeignTrustDomain(),
			Address:        netip.AddrPortFrom(node, foreignServerPort).String(),
			BundleEndpoint: "https://" + netip.AddrPortFrom(node, foreignBundlePort).String(),
			ConfigMap:      bundleConfigMap + "-foreign",
		}
	}
	return d
}

// Check refuses a configuration and a type of key that there is not.
func (s Settings) Check() error {
	if !slices.Contains(Configs(), s.Config) {
		return fmt.Errorf("unknown configuration %q of SPIRE: expected one of %v", s.Config, Configs())
	}
	if !slices.Contains(KeyTypes(), s.KeyType) {
		return fmt.Errorf("unknown type of key %q: expected one of %v", s.KeyType, KeyTypes())
	}
	return nil
}
