// SPDX-License-Identifier: Apache-2.0

// Package apiserver makes the requests to a running cluster that identities need: to judge a token, and to get one
// for a record. It is for the plugin and the add-on. Package verify itself makes no request.
package apiserver

import (
	"context"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

// Extra keys with which API servers name the pod that a token is bound to (Kubernetes 1.30 and later; KEP-4193).
const (
	ExtraPodName = "authentication.kubernetes.io/pod-name"
	ExtraPodUID  = "authentication.kubernetes.io/pod-uid"
)

// Reviewer asks the API server about tokens. It is safe for concurrent use.
type Reviewer struct{ client typedv1.TokenReviewsGetter }

// NewReviewer returns a Reviewer that asks the API server of client, for example clientset.AuthenticationV1(). Its
// account needs the right to create tokenreviews.
func NewReviewer(client typedv1.TokenReviewsGetter) Reviewer { return Reviewer{client: client} }

// Review implements check.Reviewer. An answer for other audiences does not authenticate the token.
func (r Reviewer) Review(ctx context.Context, token, audience string) (check.Review, error) {
	answer, err := r.client.TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return check.Review{}, fmt.Errorf("asking for a TokenReview: %w", err)
	}
	status := &answer.Status
	review := check.Review{
		Authenticated: status.Authenticated, Username: status.User.Username, Error: status.Error,
		PodName: only(status.User.Extra[ExtraPodName]), PodUID: only(status.User.Extra[ExtraPodUID]),
	}
	if review.Authenticated && !slices.Contains(status.Audiences, audience) {
		review.Authenticated, review.Error = false, "by the API server's answer, the token is not for this audience"
	}
	return review, nil
}

// only returns the value of an extra key that has exactly one, otherwise the empty string.
func only(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}
