// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	spire "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// authorities is where the authorities of SPIRE come from where no add-on keeps them.
type authorities struct {
	source      string // a file, an https URL, or configmap/NAMESPACE/NAME[/KEY]
	trustDomain string // empty: that of ConfigMap config-spire
	// endpointBundle authenticates a bundle endpoint with the profile https_spiffe: a file or a ConfigMap. endpointID is
	// the SPIFFE ID of the endpoint, by default that of the trust domain's server.
	endpointBundle, endpointID string
}

const (
	flagAuthorities = "spire-bundle"
	flagTrustDomain = "spire-trust-domain"

	flagEndpointBundle = "spire-endpoint-bundle"
	flagEndpointID     = "spire-endpoint-id"
)

func (b *authorities) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.source, flagAuthorities, "", "authorities of SPIRE that no trust history has: a file "+
		"(PEM or SPIFFE JSON), the https URL of a bundle endpoint, or configmap/NAMESPACE/NAME")
	cmd.Flags().StringVar(&b.trustDomain, flagTrustDomain, "", "trust domain of SPIRE "+
		"(default: that of ConfigMap config-spire)")
	cmd.Flags().StringVar(&b.endpointBundle, flagEndpointBundle, "", "authorities that you already have, a file or "+
		"configmap/NAMESPACE/NAME: they authenticate a bundle endpoint with the profile https_spiffe")
	cmd.Flags().StringVar(&b.endpointID, flagEndpointID, "", "SPIFFE ID of that bundle endpoint "+
		"(default: spiffe://TRUST-DOMAIN/spire/server)")
	for _, flag := range []string{flagTrustDomain, flagEndpointID} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
}

// addTo adds the authorities to a cluster.
func (b *authorities) addTo(ctx context.Context, e *env, c *trust.Cluster) (*trust.Cluster, error) {
	if err := b.check(); err != nil || b.source == "" {
		return c, err
	}
	domain, err := b.domain(ctx, e)
	if err != nil {
		return nil, err
	}
	bundle, err := b.read(ctx, e, domain)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagAuthorities, err)
	}
	more := trust.Cluster{UID: c.UID, TrustDomain: domain, Domains: []trust.Domain{bundle}}
	both, err := trust.Merge(&trust.Bundle{Clusters: []trust.Cluster{*c}}, &trust.Bundle{Clusters: []trust.Cluster{more}})
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagAuthorities, err)
	}
	return both.Cluster(c.UID)
}

// check returns an error if a flag is without the one that it belongs to.
func (b *authorities) check() error {
	endpoint := isURL(b.source)
	switch {
	case b.source == "" && b.trustDomain != "":
		return fmt.Errorf("--%s is for --%s: add it", flagTrustDomain, flagAuthorities)
	case !endpoint && (b.endpointBundle != "" || b.endpointID != ""):
		return fmt.Errorf("--%s and --%s are for the https URL of a bundle endpoint: add --%s URL",
			flagEndpointBundle, flagEndpointID, flagAuthorities)
	case b.endpointID != "" && b.endpointBundle == "":
		return fmt.Errorf("--%s is authenticated by authorities that you already have: add --%s",
			flagEndpointID, flagEndpointBundle)
	case isURL(b.endpointBundle):
		return fmt.Errorf("--%s: expected a file or configmap/NAMESPACE/NAME, got a URL", flagEndpointBundle)
	}
	return nil
}

func isURL(source string) bool { return strings.HasPrefix(source, "https://") }

// domain returns the trust domain: the named one, or that of Tekton's own ConfigMap.
func (b *authorities) domain(ctx context.Context, e *env) (string, error) {
	if b.trustDomain != "" {
		return b.trustDomain, nil
	}
	kube, err := e.kube()
	if err != nil {
		return "", err
	}
	cm, err := kube.CoreV1().ConfigMaps(enable.StockNamespace).Get(ctx, config.ConfigMapName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading the trust domain from ConfigMap %s: %w: name it with --%s",
			config.ConfigMapName, err, flagTrustDomain)
	}
	c, err := config.Parse(cm.Data)
	return c.TrustDomain, err
}

// read reads the authorities from the source.
func (b *authorities) read(ctx context.Context, e *env, domain string) (trust.Domain, error) {
	if isURL(b.source) {
		return b.fetch(ctx, e, domain)
	}
	data, err := bundleBytes(ctx, e, b.source)
	if err != nil {
		return trust.Domain{}, err
	}
	return spire.ParseBundle(domain, data)
}

// fetch reads the authorities from a bundle endpoint, with the profile https_spiffe if there are authorities to
// authenticate it, else with https_web.
func (b *authorities) fetch(ctx context.Context, e *env, domain string) (trust.Domain, error) {
	endpoint := spire.Endpoint{URL: b.source}
	if b.endpointBundle != "" {
		data, err := bundleBytes(ctx, e, b.endpointBundle)
		if err != nil {
			return trust.Domain{}, fmt.Errorf("--%s: %w", flagEndpointBundle, err)
		}
		endpoint.Bundle = data
		endpoint.ID = cmp.Or(b.endpointID, config.Config{TrustDomain: domain}.ServerID())
	}
	return spire.FetchBundle(ctx, domain, endpoint)
}

// bundleBytes reads a file or a ConfigMap.
func bundleBytes(ctx context.Context, e *env, source string) ([]byte, error) {
	rest, ok := strings.CutPrefix(source, "configmap/")
	if !ok {
		return readBundleBytes(ctx, e.In, source)
	}
	parts := strings.Split(rest, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return nil, fmt.Errorf("expected configmap/NAMESPACE/NAME or configmap/NAMESPACE/NAME/KEY, got %q", source)
	}
	kube, err := e.kube()
	if err != nil {
		return nil, err
	}
	cm, err := kube.CoreV1().ConfigMaps(parts[0]).Get(ctx, parts[1], metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return keyOfBundle(cm.Data, parts[2:])
}

// keyOfBundle returns the value of the named key, or of the only one.
func keyOfBundle(data map[string]string, key []string) ([]byte, error) {
	if len(key) == 1 {
		value, ok := data[key[0]]
		if !ok {
			return nil, fmt.Errorf("the ConfigMap has no key %q", key[0])
		}
		return []byte(value), nil
	}
	if len(data) != 1 {
		return nil, fmt.Errorf("expected a ConfigMap with one key, got %d: name it, as in configmap/NAMESPACE/NAME/KEY",
			len(data))
	}
	for _, value := range data {
		return []byte(value), nil
	}
	return nil, errors.New("the ConfigMap is empty")
}
