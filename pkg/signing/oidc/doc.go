// SPDX-License-Identifier: Apache-2.0

// Package oidc is the backend oidc-sa-token of TEP-0089: a token of the TaskRun's service account, which the
// cluster's own issuer signs, vouches for a step's evidence.
//
// Its signer does not use a Kubernetes client, to keep the signer's static binary small.
package oidc
