// SPDX-License-Identifier: Apache-2.0

// Package inject wraps the steps of a TaskRun's pod in the signer. It is a pure function from pod to pod.
//
// A step's container starts the signer, which starts Tekton's entrypoint with exactly the arguments from
// Tekton, except the post file. The entrypoint writes a private post file, and the signer publishes it after
// writing the step's evidence, so that no later step starts before that.
package inject
