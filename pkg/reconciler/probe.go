// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends/apiserver"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Probe requests tokens that the policies must refuse. A policy takes effect some time after its creation, at a
// different time on each API server, and never if it does not compile. So only a refusal shows that it is in effect.
type Probe struct {
	client kubernetes.Interface
}

// NewProbe returns a probe for the cluster of config. Each request makes its own connection, so that behind a load
// balancer it reaches all API servers.
func NewProbe(config *rest.Config) (*Probe, error) {
	own := rest.CopyConfig(config)
	own.Proxy = http.ProxyFromEnvironment // what it is anyway; being set keeps the transport from being shared
	own.WrapTransport = func(rt http.RoundTripper) http.RoundTripper {
		if t, ok := rt.(*http.Transport); ok {
			t.DisableKeepAlives = true
		}
		return rt
	}
	client, err := kubernetes.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("connecting the probe: %w", err)
	}
	return &Probe{client: client}, nil
}

// probeDigest is the digest in the probed audiences.
const probeDigest = "tekton-sign probe, not a digest!" // 32 bytes

// Audiences that no signer requests. Policy TokenRequesters admits the second one, so that the policy on pods'
// tokens answers.
const (
	ordinaryAudience = "https://tekton-sign.dev/probe"
	podAudience      = "https://tekton-sign.dev/pod-probe"
)

// notRefusedError is the error for a token that a policy should have refused.
type notRefusedError struct {
	policy, audience string
}

func (e *notRefusedError) Error() string {
	return fmt.Sprintf("policy %s: expected it to refuse a token with audience %s, got the token", e.policy, e.audience)
}

// Check returns an error unless the policies refuse each request: a *notRefusedError if one was granted. A granted
// token is dropped unread. It belongs to an account without permissions.
//
// The signing audiences are those of all signers under these settings. The fixed one is among them only if it is
// admitted: elsewhere both policies refuse it, and the API server can name either.
func (p *Probe) Check(ctx context.Context, s settings.Settings) error {
	type request struct {
		policy, audience string
		bound            bool // to a pod
	}
	var requests []request
	for _, audience := range s.StepAudiences(signing.Digest([]byte(probeDigest))) {
		requests = append(requests, request{manifests.SigningTokens, audience, true})
	}
	requests = append(requests,
		request{manifests.TokenRequesters, ordinaryAudience, false},
		request{manifests.PodTokens, podAudience, true}, // with which whoever got it would be the pod
	)
	for _, r := range requests {
		if err := p.refused(ctx, r.policy, r.audience, r.bound); err != nil {
			return err
		}
	}
	return nil
}

// refused returns an error unless policy refuses a token with this audience. A bound token is bound to a pod that is
// not the requester's. No other policy refuses the same request, because an API server can name any policy that
// does.
func (p *Probe) refused(ctx context.Context, policy, audience string, bound bool) error {
	request := apiserver.NewRequest(audience)
	if bound {
		request = apiserver.NewPodRequest(audience, manifests.ProbeAccount, "00000000-0000-4000-8000-000000000000")
	}
	_, err := p.client.CoreV1().ServiceAccounts(manifests.Namespace).CreateToken(ctx, manifests.ProbeAccount, request,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	expected := fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding ", policy)
	switch {
	// it came past the policies: there is no such pod
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return &notRefusedError{policy, audience}
	case !strings.Contains(err.Error(), expected) || !strings.Contains(err.Error(), " denied request: "):
		return fmt.Errorf("policy %s: expected it to refuse a token with audience %s, got: %w", policy, audience, err)
	}
	return nil
}
