// SPDX-License-Identifier: Apache-2.0

// Package signing is the core of tekton-sign: the names of the backends, the table of schemes, the interface
// that a backend's in-pod half implements, and the evidence that a step leaves behind.
//
// Evidence is the signing material of one step (TEP-0089). It travels as additional task results, the
// carriers, in the termination message of the step's container. Format v2 is one detached statement for each
// step over everything that the step emitted: a [Unit] with its [Header]. Format v1 is a signature for each
// result, compatible with Tekton's own. docs/evidence.md specifies both.
//
// A backend has a folder of its own below this package, with the half that signs in a pod, and a folder proof
// below that with the half that verifies. What they have in common stands in a row of the table in scheme.go.
//
// What the package promises:
//
//   - A Unit has one message. Two units that differ in anything have different messages, and no message of format v2 is one of
//     format v1.
//   - What it reads, it reads in one form only: a manifest, a signature or a UID that is written in another way is an error.
//   - It has no Kubernetes client, no screen, no clock and no randomness of its own: callers pass them in. It is linked into the
//     signer that runs in every step, and therefore stays free of client-go and of Tekton's API types.
//
// What it does not promise: nothing here decides whether evidence is to be trusted. A signature that
// [Algorithm.Verify] accepts was made with a key; whose key that is, and whether the TaskRun shows what was
// signed, package verify decides.
//
// The zero values of Header and Unit are not valid, the zero Scheme is no scheme, and the zero Algorithm is
// that of a scheme in which the identity itself vouches for the digest.
package signing
