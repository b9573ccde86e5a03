// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/tokenreview"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// looker connects to what the flags name: a trust bundle, a cluster, or both.
func (o *verifyOptions) looker(ctx context.Context, e *env) (*looker, *report.Trust, error) {
	live := len(o.files) == 0
	options, err := o.verifierOptions()
	if err != nil {
		return nil, nil, err
	}
	l := &looker{requireSigned: o.requireSigned}
	if live {
		if l.kube, err = e.kube(); err != nil {
			return nil, nil, err
		}
		options = append(options, verify.WithTokenReviewer(tokenreview.New(l.kube)))
	}
	cluster, trust, err := o.trust(ctx, e, live)
	if err != nil {
		return nil, nil, err
	}
	l.verifier, err = verify.New(cluster, options...)
	return l, trust, err
}

// trust returns the cluster whose keys to verify with, and says where they come from.
func (o *verifyOptions) trust(ctx context.Context, e *env, live bool) (*trust.Cluster, *report.Trust, error) {
	if o.trustBundle == "" {
		return o.liveTrust(ctx, e)
	}
	data, err := os.ReadFile(o.trustBundle)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the trust bundle: %w", err)
	}
	if got := trust.SHA256(data); o.bundleSHA256 != "" && !strings.EqualFold(got, o.bundleSHA256) {
		return nil, nil, fmt.Errorf("%s: expected SHA-256 %s, got %s: somebody changed the file, or it is another one",
			o.trustBundle, o.bundleSHA256, got)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.trustBundle, err)
	}
	choice := o.cluster
	if choice == "" && live {
		if choice, err = e.clusterUID(ctx, bundle); err != nil {
			return nil, nil, err
		}
	}
	cluster, err := bundle.Cluster(choice)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.trustBundle, err)
	}
	return cluster, &report.Trust{
		Source: report.SourceFile, Path: o.trustBundle, SHA256: trust.SHA256(data), Cluster: clusterRef(cluster),
	}, nil
}

// clusterUID returns the UID of the cluster that the TaskRuns were read from. Where that may not be read, a bundle with a
// single cluster leaves no choice.
func (e *env) clusterUID(ctx context.Context, bundle *trust.Bundle) (string, error) {
	kube, err := e.kube()
	if err != nil {
		return "", err
	}
	uid, err := trust.FetchUID(ctx, kube.CoreV1().RESTClient())
	if apierrors.IsForbidden(err) && len(bundle.Clusters) == 1 {
		return "", nil
	}
	return uid, explainCluster(err)
}

func (o *verifyOptions) liveTrust(ctx context.Context, e *env) (*trust.Cluster, *report.Trust, error) {
	if o.cluster != "" {
		return nil, nil, fmt.Errorf("--cluster chooses a cluster of a trust bundle: it needs --trust-bundle FILE")
	}
	cluster, err := e.fetchTrust(ctx, "")
	if apierrors.IsForbidden(err) {
		err = withExit(ExitIndeterminate, fmt.Errorf("%w, or for a trust bundle to pass with --trust-bundle FILE", err))
	}
	if err != nil {
		return nil, nil, err
	}
	return cluster, &report.Trust{Source: report.SourceCluster, Cluster: clusterRef(cluster)}, nil
}

// fetchTrust reads the keys of the kubeconfig's cluster, with its trust history. Without a name it is called as the kubeconfig
// calls it.
func (e *env) fetchTrust(ctx context.Context, name string) (*trust.Cluster, error) {
	cluster, _, err := e.fetchKnownKeys(ctx, name)
	return cluster, err
}

// clusterName is how the kubeconfig calls the cluster in use.
func (e *env) clusterName() string {
	raw, err := e.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return ""
	}
	current := raw.CurrentContext
	if e.config.Context != nil && *e.config.Context != "" {
		current = *e.config.Context
	}
	if c := raw.Contexts[current]; c != nil {
		return c.Cluster
	}
	return ""
}

func clusterRef(c *trust.Cluster) verify.ClusterRef {
	return verify.ClusterRef{Name: c.Name, UID: c.UID}
}
