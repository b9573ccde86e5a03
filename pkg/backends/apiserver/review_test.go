// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
)

const (
	token    = "a.b.c"
	audience = "tekton-result-signing"
	podUID   = "3db15e48-971f-4815-84b3-272e52f61a10"
)

// answering returns a Reviewer whose API server always answers with answer, and the request that it got.
func answering(answer authenticationv1.TokenReviewStatus, err error) (Reviewer, *[]authenticationv1.TokenReviewSpec) {
	var asked []authenticationv1.TokenReviewSpec
	kube := fake.NewClientset()
	kube.PrependReactor("create", "tokenreviews", func(action k8stesting.Action) (bool, runtime.Object, error) {
		review := action.(k8stesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		asked = append(asked, review.Spec)
		review.Status = answer
		return true, review, err
	})
	return NewReviewer(kube.AuthenticationV1()), &asked
}

func TestReview(t *testing.T) {
	user := func(names, uids []string) authenticationv1.UserInfo {
		return authenticationv1.UserInfo{
			Username: "system:serviceaccount:ci:builder",
			Extra:    map[string]authenticationv1.ExtraValue{ExtraPodName: names, ExtraPodUID: uids},
		}
	}
	good := user([]string{"build-pod"}, []string{podUID})
	const otherAudience = "by the API server's answer, the token is not for this audience"
	for name, c := range map[string]struct {
		answer authenticationv1.TokenReviewStatus
		want   check.Review
	}{
		"yes": {
			authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{audience}, User: good},
			check.Review{Authenticated: true, Username: good.Username, PodName: "build-pod", PodUID: podUID},
		},
		"for another audience": {
			authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{audience + ":x"}, User: good},
			check.Review{Username: good.Username, PodName: "build-pod", PodUID: podUID, Error: otherAudience},
		},
		"for no audience": { // a server without support for the field
			authenticationv1.TokenReviewStatus{Authenticated: true, User: good},
			check.Review{Username: good.Username, PodName: "build-pod", PodUID: podUID, Error: otherAudience},
		},
		"no": {
			authenticationv1.TokenReviewStatus{Error: "pod not found"},
			check.Review{Error: "pod not found"},
		},
		"several pods": {
			authenticationv1.TokenReviewStatus{
				Authenticated: true, Audiences: []string{audience}, User: user([]string{"a", "build-pod"}, nil),
			},
			check.Review{Authenticated: true, Username: good.Username},
		},
	} {
		t.Run(name, func(t *testing.T) {
			reviewer, asked := answering(c.answer, nil)
			got, err := reviewer.Review(t.Context(), token, audience)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("the review differs (-want +got):\n%s", diff)
			}
			want := []authenticationv1.TokenReviewSpec{{Token: token, Audiences: []string{audience}}}
			if diff := cmp.Diff(want, *asked); diff != "" {
				t.Errorf("the question differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReviewWithoutAnswer(t *testing.T) {
	reviewer, _ := answering(authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{audience}},
		errors.New("timeout"))
	got, err := reviewer.Review(t.Context(), token, audience)
	if err == nil || !strings.Contains(err.Error(), "timeout") || got.Authenticated {
		t.Errorf("got %+v and %v, want the error", got, err)
	}
}
