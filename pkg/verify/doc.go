// SPDX-License-Identifier: Apache-2.0

// Package verify decides whether the results of a TaskRun are the ones that its steps signed.
//
// Pass [New] the cluster that ran the TaskRun, as a trust bundle describes it (package trust). The [Verifier]
// that it returns verifies any number of TaskRuns, also concurrently. [Verifier.TaskRun] reads the evidence
// that the steps left in their termination messages, rebuilds what they signed from the TaskRun as it is now,
// and replays Tekton's own merge of the messages into status.results. It returns a [Result]: a [Verdict], the
// [Check] that decided, and every other check with what it expected and what it got. To read TaskRuns from
// files and archives use package source.
//
// What the package promises:
//
//   - VERIFIED means that a step of this TaskRun emitted every value in status.results, in the steps' results
//     and in the artifacts, in the pod that the cluster ran for it, and that the outcome does not contradict
//     the steps. Caveats in the result name what is not proven.
//   - FAILED means that something refutes the evidence. If something is missing, such as a key, the verdict
//     is INDETERMINATE. TaskRuns without evidence are UNSIGNED. Only VERIFIED means success; the zero values
//     of Verdict, Status and Result do not.
//   - The result depends only on the TaskRun, the trust bundle, the options, the [Facts] and the clock. The
//     package opens no socket and no file and prints nothing. Only what the caller passes as an option may
//     ask an API server.
//   - Time and memory are bounded for every TaskRun. A [Budget] bounds all attempts of one TaskRun together.
//
// What it does not promise:
//
//   - It does not judge what a step did: a step that emits a wrong value signs that value.
//   - It does not fetch trust, and cannot know whether the bundle is the right one: get it from the cluster
//     over a connection that you trust.
//   - Without the live pod or the add-on's record, it cannot know that the pod was the TaskRun's own: see
//     [WithUnrecorded].
//   - Strings in a Result come from the TaskRun. Escape them before you show them to a person.
//
// docs/verification.md is the specification that the package implements.
package verify
