// SPDX-License-Identifier: Apache-2.0

// Package inject wraps the steps of a TaskRun's pod in the signer. It is a pure function from pod to pod.
//
// A step's container starts the signer, which starts Tekton's entrypoint with the very arguments that Tekton
// gave it, but for the post file: the entrypoint writes a private one, and the signer publishes it once the
// step's evidence stands, so that no later step starts before.
package inject
