// SPDX-License-Identifier: Apache-2.0

// Package node knows how a one-node cluster is configured: which files its components read, and with which flags
// they run.
package node

import (
	"net/netip"
	"path/filepath"
)

// Addresses inside the cluster. Every lab has its own network namespace, so they are the same in all of them.
var (
	PodNetwork     = netip.MustParsePrefix("10.244.0.0/24")
	ServiceNetwork = netip.MustParsePrefix("10.96.0.0/16")
	// KubernetesService is the address of the service "kubernetes": the first of the service network. Without
	// kube-proxy nothing forwards it, so the node owns it, and kube-apiserver listens on port 443.
	KubernetesService = netip.MustParseAddr("10.96.0.1")
	// DNSService is where pods look for a name server. The node owns this address too, and as long as nobody listens
	// there, look-ups fail at once instead of running into time-outs.
	DNSService = netip.MustParseAddr("10.96.0.10")
)

// Issuer is what service account tokens name as their issuer.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// PauseImage is the name under which the sandbox image is known to containerd.
const PauseImage = "localhost/pause:1"

// Layout says where a node's files are and how it is reached.
type Layout struct {
	// State is the lab's state folder. Bin holds links to the components' binaries.
	State string
	// Name is the node's name.
	Name string
	// Address is the node's address, and where the host reaches kube-apiserver.
	Address netip.Addr
	// CNIPlugins is the folder with the CNI plugins.
	CNIPlugins string
}

// Bin is the folder with the components' binaries.
func (l Layout) Bin(name string) string { return filepath.Join(l.State, "bin", name) }

// Etc is the folder with the components' configuration.
func (l Layout) Etc(name string) string { return filepath.Join(l.State, "etc", name) }

// PKI is the folder with certificates and keys.
func (l Layout) PKI(name string) string { return filepath.Join(l.State, "pki", name) }

// Kubeconfig is the file with which user reaches kube-apiserver.
func (l Layout) Kubeconfig(user string) string { return filepath.Join(l.State, "kubeconfig", user) }

// Server is kube-apiserver's address for clients on the host and inside.
func (l Layout) Server() string { return "https://" + l.Address.String() }
