// SPDX-License-Identifier: Apache-2.0

// Package admission contains the handlers of the add-on's webhooks. One wraps the steps of a TaskRun's pod in the
// signer. One verifies a TaskRun in the write that completes it. One allows a task of a pipeline to start only with
// verified values. One holds TaskRuns and PipelineRuns from Tekton Chains until they are verified.
//
// In audit, the only write that they refuse is one that the gate for Chains wants again after a moment. If they
// cannot do their work, the request passes with a warning, and does not claim that anything was verified. In
// enforce, they refuse what they cannot judge, and Tekton tries again.
//
// Anyone who reaches the port can send a review. It is only a question: no handler writes because of it.
package admission
