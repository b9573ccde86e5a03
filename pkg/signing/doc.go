// SPDX-License-Identifier: Apache-2.0

// Package signing is the core of tekton-sign: the names of the backends, the interface that a backend's in-pod half
// implements, and the evidence that a step leaves behind.
//
// Evidence is the signing material of one step (TEP-0089). It travels as additional task results, the carriers, in the
// termination message of the step's container. Format v2 is one detached statement per step over everything the step
// emitted; docs/format.md is its specification.
//
// The package knows no Kubernetes client, no screen, and no clock or randomness of its own: callers pass them in. It is
// linked into the signer that runs in every step and therefore stays free of client-go and of Tekton's API types.
package signing
