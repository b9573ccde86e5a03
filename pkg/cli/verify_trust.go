// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends/apiserver"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// trusted is what to verify with, and where it comes from.
type trusted struct {
	cluster  *trust.Cluster
	report   *report.Trust
	warnings []string // what is wrong with the cluster's trust history, or with what protects signing tokens
	unread   error    // why the cluster's settings of signing tokens are not known, nil if they are or need not be
}

// verifier connects to what the flags name: a trust bundle, a cluster, or both.
func (o *verifyOptions) verifier(ctx context.Context, e *env) (*runs.Verifier, trusted, error) {
	live := len(o.files) == 0
	options, err := o.verifierOptions()
	if err != nil {
		return nil, trusted{}, err
	}
	v := &runs.Verifier{RequireSigned: o.requireSigned}
	var kube kubeclient.Interface // nil offline
	if live || o.trustBundle == "" {
		if kube, err = e.kube(); err != nil {
			return nil, trusted{}, err
		}
	}
	if live {
		v.Kube = kube
		options = append(options, verify.WithReviewer(apiserver.NewReviewer(kube.AuthenticationV1())))
	}
	t, err := o.trust(ctx, e, live)
	if err != nil {
		return nil, trusted{}, err
	}
	rules, err := o.tokens.rules(ctx, kube)
	if err != nil {
		return nil, trusted{}, err
	}
	t.unread = rules.unread
	if drift := rules.live.TokenPolicyDrift(ctx, kube, version.Get().Version); drift != nil {
		t.warnings = append(t.warnings,
			drift.Error()+": other clients than the TaskRuns' own pods may have got signing tokens: "+
				"run kubectl tekton-sign status")
	}
	options = append(options, verify.WithTokens(rules.Tokens))
	v.Verifier, err = verify.New(t.cluster, options...)
	return v, t, err
}

// trust returns the cluster whose keys to verify with, and where they come from.
func (o *verifyOptions) trust(ctx context.Context, e *env, live bool) (trusted, error) {
	if o.trustBundle == "" {
		return o.liveTrust(ctx, e)
	}
	if o.more.source != "" {
		return trusted{}, fmt.Errorf("--%s adds to the keys of the cluster: with --trust-bundle, put the authorities into "+
			"the bundle (trust export --%s)", flagAuthorities, flagAuthorities)
	}
	data, err := readBundleBytes(ctx, e.In, o.trustBundle)
	if err != nil {
		return trusted{}, fmt.Errorf("reading the trust bundle: %w", err)
	}
	sum := trust.SHA256(data)
	if o.bundleSHA256 != "" && !strings.EqualFold(sum, o.bundleSHA256) {
		return trusted{}, fmt.Errorf("%s: expected SHA-256 %s, got %s: the file was changed, or is a different one",
			o.trustBundle, o.bundleSHA256, sum)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		return trusted{}, fmt.Errorf("%s: %w", o.trustBundle, err)
	}
	choice := o.cluster
	if choice == "" && live {
		if choice, err = e.clusterUID(ctx, bundle); err != nil {
			return trusted{}, err
		}
	}
	cluster, err := bundle.Cluster(choice)
	if err != nil {
		return trusted{}, fmt.Errorf("%s: %w", o.trustBundle, err)
	}
	return trusted{cluster: cluster, report: &report.Trust{
		Source: report.SourceFile, Path: o.trustBundle, SHA256: sum, Cluster: clusterRef(cluster),
	}}, nil
}

// clusterUID returns the UID of the cluster that the TaskRuns were read from. It may be empty if the bundle has a
// single cluster.
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

func (o *verifyOptions) liveTrust(ctx context.Context, e *env) (trusted, error) {
	if o.cluster != "" {
		return trusted{}, fmt.Errorf("--trust-bundle-cluster chooses a cluster of a trust bundle: " +
			"add --trust-bundle FILE")
	}
	cluster, past, err := e.fetchKnownKeys(ctx, "")
	if apierrors.IsForbidden(err) {
		err = withExit(ExitIndeterminate, fmt.Errorf("%w, or for a trust bundle to pass with --trust-bundle FILE", err))
	}
	if err != nil {
		return trusted{}, err
	}
	if cluster, err = o.more.addTo(ctx, e, cluster); err != nil {
		return trusted{}, err
	}
	t := trusted{cluster: cluster, report: &report.Trust{Source: report.SourceCluster, Cluster: clusterRef(cluster)}}
	if len(past.Problems) > 0 {
		t.warnings = pastNotes(e, past)
	}
	return t, nil
}

// clusterName is the name of the current cluster in the kubeconfig.
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
