// SPDX-License-Identifier: Apache-2.0

package read

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/budget"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status/checks"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Wanted are what the user wants to simulate in place of what the cluster has. Empty fields mean the cluster's own.
type Wanted struct {
	Settings    map[string]string // by the keys of ConfigMap config-signing
	Compression budget.Compression
	ResultsFrom budget.Carrier
	Bundle      *trust.Cluster // the keys of which tokens are made
	ResultBytes int
	Program     string
}

// Cluster is what was found out about a cluster.
type Cluster struct {
	budget.Environment
	Mode       func(namespace string) settings.Enforcement
	TokensFrom string
	Notes      []string
}

// Sources of the form of tokens.
const (
	fromLive    = "cluster"
	fromBundle  = "trust bundle"
	fromNowhere = "assumed"
)

// usualTokens is the form of tokens in a cluster that kubeadm made.
func usualTokens() inject.TokenForm {
	return inject.TokenForm{Issuer: "https://kubernetes.default.svc.cluster.local", KeyID: 43, Signature: 342}
}

// usualNode is as long as the usual name of a node.
const usualNode = "ip-10-0-123-123.eu-central-1.compute.internal"

// Offline returns the environment of files, without a network.
func Offline(w Wanted) (*Cluster, error) {
	c := &Cluster{Environment: budget.Environment{
		Settings: settings.Default(), Node: usualNode, TektonNamespace: enable.StockNamespace,
	}}
	if err := c.want(w); err != nil {
		return nil, err
	}
	c.Way = budget.WayOf(c.Settings, c.by(settings.DeliveryImage), cmp.Or(w.Compression, budget.CompressionNeeded),
		cmp.Or(w.ResultsFrom, budget.Messages))
	c.Mode = func(string) settings.Enforcement { return c.Settings.Enforcement }
	if c.TokensFrom == fromNowhere {
		c.Notes = append(c.Notes, "the form of tokens is assumed to be that of a kubeadm cluster: "+
			"--trust-bundle FILE names the cluster's own")
	}
	return c, nil
}

// by returns how the signer is delivered, or auto where that depends on the cluster.
func (c *Cluster) by(auto settings.Delivery) inject.Delivery {
	if c.Settings.Delivery != settings.DeliveryAuto {
		return inject.Delivery(c.Settings.Delivery)
	}
	return inject.Delivery(auto)
}

// want applies what the user wants. Signing is simulated even where it is off.
func (c *Cluster) want(w Wanted) error {
	data := c.Settings.Data()
	for key, value := range w.Settings {
		data[key] = value
	}
	if data[settings.KeyBackend] == string(settings.Default().Backend) {
		first := string(backends.Enabled()[0].Name)
		data[settings.KeyBackend] = first
		c.Notes = append(c.Notes, fmt.Sprintf("signing is off: simulated with backend %s", first))
	}
	if w.Settings[settings.KeyFormat] != "" && w.Settings[settings.KeyBinding] == "" {
		delete(data, settings.KeyBinding)
	}
	read, err := c.Settings.With(data)
	if err != nil {
		return err
	}
	c.Settings = read
	if about := backends.Of(c.Settings.Backend).Estimated; about != "" {
		c.Notes = append(c.Notes, about)
	}
	c.ResultBytes, c.Program = w.ResultBytes, w.Program
	c.Tokens, c.TokensFrom = usualTokens(), fromNowhere
	c.takeTokens(w.Bundle, fromBundle)
	return nil
}

// Live returns the environment of a cluster. What the user may not read is assumed, with a note.
func Live(ctx context.Context, clients enable.Clients, o checks.Options, w Wanted) (*Cluster, error) {
	found, err := checks.Read(ctx, clients, o)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Environment: budget.Environment{
		Settings: found.Settings.Settings, Registry: found.AddOn.Registry, TektonNamespace: found.Tekton.Namespace,
	}}
	if found.Settings.ReadErr != nil {
		c.note("the settings", found.Settings.ReadErr)
	}
	if err := c.want(w); err != nil {
		return nil, err
	}
	c.readTokens(ctx, clients, w)
	by := c.readNodes(ctx, clients, found.Kubernetes)
	compression, from := c.readFeatures(ctx, clients, found.Tekton.Controller.Version)
	c.Way = budget.WayOf(c.Settings, c.by(by), cmp.Or(w.Compression, compression), cmp.Or(w.ResultsFrom, from))
	c.Mode = func(namespace string) settings.Enforcement {
		if w.Settings[settings.KeyEnforcement] != "" {
			return c.Settings.Enforcement
		}
		i := slices.IndexFunc(found.Namespaces.List, func(ns checks.Namespace) bool { return ns.Name == namespace })
		if i < 0 {
			return c.Settings.Enforcement
		}
		return c.Settings.EnforcementOf(found.Namespaces.List[i].Labels)
	}
	return c, nil
}

func (c *Cluster) note(what string, err error) {
	c.Notes = append(c.Notes, fmt.Sprintf("%s could not be read, and the usual is assumed: %v", what, err))
}

func (c *Cluster) readTokens(ctx context.Context, clients enable.Clients, w Wanted) {
	if w.Bundle != nil {
		return
	}
	keys, err := trust.Fetch(ctx, clients.Kube.CoreV1().RESTClient(), "")
	if err != nil {
		c.note("the keys of the cluster's issuer", err)
		return
	}
	c.takeTokens(keys, fromLive)
}

// takeTokens takes the form of tokens from the keys of a cluster, if it has any.
func (c *Cluster) takeTokens(keys *trust.Cluster, from string) {
	if form := inject.ShortestTokens(keys); form != (inject.TokenForm{}) {
		c.Tokens, c.LongestTokens, c.TokensFrom = form, inject.LongestTokens(keys), from
	}
}

// readNodes takes the longest name of a node, and returns how auto delivers the signer.
func (c *Cluster) readNodes(ctx context.Context, clients enable.Clients, kubernetes string) settings.Delivery {
	var nodes []*corev1.Node
	err := enable.Each(ctx, clients.Kube.CoreV1().Nodes().List, func(n *corev1.Node) {
		if len(n.Name) > len(c.Node) {
			c.Node = n.Name
		}
		nodes = append(nodes, n)
	})
	if err != nil {
		c.Node = usualNode
		c.note("the nodes", err)
		return settings.DeliveryInit
	}
	if delivery.LacksImageVolumes(kubernetes, nodes) != "" {
		return settings.DeliveryInit
	}
	return settings.DeliveryImage
}

// readFeatures reads the features of Tekton that change messages.
func (c *Cluster) readFeatures(
	ctx context.Context, clients enable.Clients, version string,
) (budget.Compression, budget.Carrier) {
	compression, from := budget.CompressionOff, budget.Messages
	if inject.ReadsCompressed(inject.ReleaseImage(version)) {
		compression = budget.CompressionNeeded
	}
	cm, err := clients.Kube.CoreV1().ConfigMaps(c.TektonNamespace).Get(ctx, tekton.FeatureFlags, metav1.GetOptions{})
	if err != nil {
		c.note("Tekton's feature-flags", err)
		return compression, from
	}
	if cm.Data["enable-termination-message-compression"] == "true" {
		compression = budget.CompressionAlways
	}
	if cm.Data["results-from"] == string(budget.SidecarLogs) {
		from = budget.SidecarLogs
	}
	return compression, from
}
