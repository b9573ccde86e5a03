// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/workload"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// signers is the table of the backends' in-pod halves. The table of package backends would link a Kubernetes
// client.
func signers() map[signing.Backend]signerFactory {
	return map[signing.Backend]signerFactory{
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

// signerOf returns the function that makes the signer of a step.
func signerOf(backend signing.Backend) (signerFactory, error) {
	if factory, ok := signers()[backend]; ok {
		return factory, nil
	}
	return nil, fmt.Errorf("this signer has no backend %q", backend)
}
