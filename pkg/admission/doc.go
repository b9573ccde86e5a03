// SPDX-License-Identifier: Apache-2.0

// Package admission holds the handlers of the add-on's webhooks. One wraps the steps of a TaskRun's pod in the
// signer. One verifies a TaskRun in the write that completes it. One lets a task of a pipeline start only on
// verified values. One holds TaskRuns and PipelineRuns from Tekton Chains until they are verified.
//
// In audit mode they refuse nothing but, for a moment, a write that the gate of Chains wants made again. Where they
// cannot do their work the request passes with a warning, and nothing in it says that anything was verified. In
// enforce mode they refuse what they cannot judge, and Tekton tries again.
//
// Anybody who reaches the port can send a review. It is a question: no handler writes because of it.
package admission
