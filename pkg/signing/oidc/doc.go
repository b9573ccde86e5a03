// SPDX-License-Identifier: Apache-2.0

// Package oidc is the backend oidc-sa-token of TEP-0089: a step's evidence is vouched for by a token of the TaskRun's
// service account, which the cluster's own issuer signs.
//
// Its signer is linked into a small static binary and therefore uses no Kubernetes client.
package oidc
