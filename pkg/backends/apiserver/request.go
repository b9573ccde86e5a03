// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// NewRequest returns a request for a token with this audience and the shortest lifetime.
func NewRequest(audience string) *authenticationv1.TokenRequest {
	seconds := int64(signing.MinTokenLifetime / time.Second)
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: &seconds,
	}}
}

// NewPodRequest returns such a request for a token that is bound to a pod.
func NewPodRequest(audience, name string, uid types.UID) *authenticationv1.TokenRequest {
	request := NewRequest(audience)
	request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
		Kind: "Pod", APIVersion: "v1", Name: name, UID: uid,
	}
	return request
}
