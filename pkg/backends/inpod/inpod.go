// SPDX-License-Identifier: Apache-2.0

// Package inpod is the table of the backends' in-pod halves. It is not part of package backends, because that
// would link a Kubernetes client into the signer.
package inpod

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/workload"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Factory makes the backend's signer of a step.
type Factory func(step.Ended) signing.EntrypointerClient

// factories returns the table.
func factories() map[signing.Backend]Factory {
	return map[signing.Backend]Factory{
		signing.BackendOIDCSAToken: func(s step.Ended) signing.EntrypointerClient {
			return oidc.NewSigner(oidc.SignerOptions{
				Step: s, CredentialDir: oidc.CredentialDir, Now: time.Now, Random: rand.Reader,
			})
		},
		signing.BackendSPIRE: func(s step.Ended) signing.EntrypointerClient {
			return workload.NewSigner(workload.SignerOptions{
				Step: s, Root: "/", Now: time.Now, Random: rand.Reader,
			})
		},
	}
}

// Of returns the function that makes the signer of a step.
func Of(backend signing.Backend) (Factory, error) {
	if factory, ok := factories()[backend]; ok {
		return factory, nil
	}
	return nil, fmt.Errorf("this signer has no backend %q", backend)
}
