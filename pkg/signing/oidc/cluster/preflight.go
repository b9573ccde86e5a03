// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Preflight returns the checks of what the backend needs in a cluster.
func Preflight() []cluster.Check {
	return []cluster.Check{
		{
			ID: "TS401", Title: "the keys of the cluster's issuer can be read",
			Why: "evidence is verified with the keys with which the API server signs service account tokens",
			Fix: "Bind ClusterRole system:service-account-issuer-discovery to a group that you are in. If " +
				"the answer cannot be used, correct --service-account-issuer of the API server.",
			Run: checkIssuer,
		},
		{
			ID: "TS402", Title: "the API server issues signing tokens",
			Why: "each step asks for a token with an audience that binds its results",
			Fix: "Let a cluster administrator run preflight. If the API server refuses, look at the message: " +
				"a webhook or an authorizer is in the way.",
			Run: checkToken,
		},
	}
}

func checkIssuer(ctx context.Context, t cluster.Target) []cluster.Finding {
	read, err := trust.Fetch(ctx, t.Kube.CoreV1().RESTClient(), "")
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return []cluster.Finding{{
			Level: cluster.Unread, Message: fmt.Sprintf("you may not read the keys of the cluster's issuer: %v", err),
			Next: "kubectl create clusterrolebinding issuer-discovery --clusterrole=system:service-account-issuer-discovery " +
				"--group=system:authenticated",
		}}
	case err != nil:
		return []cluster.Finding{{
			Message: fmt.Sprintf("the keys of the cluster's issuer cannot be used: %v", err),
			Next:    "kubectl get --raw /openid/v1/jwks, and check --service-account-issuer of the API server",
		}}
	}
	var issuers []string
	keys := 0
	for _, issuer := range read.ServiceAccountIssuers {
		issuers = append(issuers, issuer.Issuer)
		keys += len(issuer.Keys)
	}
	return []cluster.Finding{{
		Level: cluster.Fine, Message: fmt.Sprintf("issuer %s, keys: %d", names.Few(issuers), keys),
	}}
}

// probeAccount is the account for which a token is requested. Every namespace has it.
const probeAccount = "default"

// checkToken requests a signing token, measures it, and checks that it is of no use for the API itself.
func checkToken(ctx context.Context, t cluster.Target) []cluster.Finding {
	if t.Namespace == "" {
		return []cluster.Finding{{Level: cluster.Unread, Message: "no namespace is in scope in which to request one"}}
	}
	audience := signing.PayloadAudience(t.Settings.Tokens.Audience, signing.Digest{})
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: new(int64(t.Settings.Tokens.Lifetime / time.Second)),
	}}
	accounts := t.Kube.CoreV1().ServiceAccounts(t.Namespace)
	got, err := accounts.CreateToken(ctx, probeAccount, request, metav1.CreateOptions{})
	if apierrors.IsForbidden(err) {
		return []cluster.Finding{{
			Level: cluster.Unread, Message: fmt.Sprintf("you may not request tokens in namespace %s: %v", t.Namespace, err),
			Next: "ask a cluster administrator to run preflight",
		}}
	}
	if err != nil {
		return []cluster.Finding{{
			Message: fmt.Sprintf("the API server issues no token for account %s/%s: %v", t.Namespace, probeAccount, err),
			Next:    "kubectl create token " + probeAccount + " -n " + t.Namespace + " --audience " + audience,
		}}
	}
	found := []cluster.Finding{judgeToken(got.Status.Token)}
	return append(found, checkUseless(ctx, t, got.Status.Token)...)
}

// judgeToken checks whether the signer and the verifier can use a token.
func judgeToken(token string) cluster.Finding {
	if len(token) > oidc.MaxToken {
		return cluster.Finding{
			Message:  "the cluster's tokens are longer than verifiers accept",
			Expected: fmt.Sprintf("at most %d bytes", oidc.MaxToken), Got: fmt.Sprintf("%d bytes", len(token)),
			Next: "use a shorter --service-account-issuer, or an ECDSA key, for the API server",
		}
	}
	if _, err := oidc.ParseToken(token); err != nil {
		return cluster.Finding{
			Message: fmt.Sprintf("the cluster's tokens cannot be read: %v", err),
			Next:    "report the kind of cluster to the authors of tekton-sign",
		}
	}
	return cluster.Finding{Level: cluster.Fine, Message: fmt.Sprintf("a token takes %d bytes", len(token))}
}

// checkUseless checks that the API server does not accept a signing token as a credential for itself.
func checkUseless(ctx context.Context, t cluster.Target, token string) []cluster.Finding {
	review, err := t.Kube.AuthenticationV1().TokenReviews().Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil // it needs an administrator, and the prefix of the audience is nobody else's
	case err != nil:
		return []cluster.Finding{{Level: cluster.Unread, Message: fmt.Sprintf("asking about the token: %v", err)}}
	case review.Status.Authenticated:
		return []cluster.Finding{{
			Message: "the API server accepts signing tokens as credentials: a step's evidence would give access to the cluster",
			Next: "remove audiences that begin with " + t.Settings.Tokens.Audience +
				" from --api-audiences of the API server",
		}}
	}
	return []cluster.Finding{{Level: cluster.Fine, Message: "the API server does not accept it as a credential"}}
}
