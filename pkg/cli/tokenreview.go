// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Extra keys with which API servers name the pod that a token is bound to (Kubernetes 1.30 and later; KEP-4193).
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

// tokenReviewer asks the API server about tokens.
type tokenReviewer struct{ kube kubernetes.Interface }

// Review implements verify.TokenReviewer. An answer for other audiences is no authentication.
func (r tokenReviewer) Review(ctx context.Context, token, audience string) (verify.TokenReview, error) {
	answer, err := r.kube.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return verify.TokenReview{}, err
	}
	status := &answer.Status
	review := verify.TokenReview{
		Authenticated: status.Authenticated, Username: status.User.Username, Error: status.Error,
		PodName: only(status.User.Extra[extraPodName]), PodUID: only(status.User.Extra[extraPodUID]),
	}
	if review.Authenticated && !slices.Contains(status.Audiences, audience) {
		review.Authenticated, review.Error = false, "the API server did not say that the token is for this audience"
	}
	return review, nil
}

// only returns the one value of an extra key, empty unless it is one.
func only(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}
