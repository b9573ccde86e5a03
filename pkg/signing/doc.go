// SPDX-License-Identifier: Apache-2.0

// Package signing is the core of tekton-sign: the names of the backends, the table of schemes, the interface
// that a backend's in-pod half implements, and the evidence that a step leaves behind.
//
// Evidence is the signing material of one step (TEP-0089). It travels as additional task results, the
// carriers, in the termination message of the step's container. Format v2 is one detached statement for each
// step over everything that the step emitted: a [Unit] with its [Header]. Format v1 is a signature for each
// result, compatible with Tekton's own. docs/evidence.md specifies both.
//
// Each backend has a folder below this package with the half that signs in a pod, and below it a folder proof
// with the half that verifies. Its row in the table in scheme.go holds what they share.
//
// What the package promises:
//
//   - A Unit has one message. Different units have different messages, and no message of format v2 is also
//     one of format v1.
//   - Each manifest, signature and UID has one form. The package refuses every other form.
//   - It has no Kubernetes client, no output, no clock and no source of randomness: callers pass them in. The
//     signer that runs in every step links this package, so it does not use client-go or Tekton's API types.
//
// What it does not promise: this package does not decide whether to trust evidence. A signature that
// [Algorithm.Verify] accepts was made with a key. Package verify decides whose key that is, and whether the
// TaskRun shows what was signed.
//
// The zero values of Header, Unit and Scheme are not valid. The zero Algorithm is that of a scheme in which
// the identity itself vouches for the digest.
package signing
