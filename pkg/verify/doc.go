// SPDX-License-Identifier: Apache-2.0

// Package verify decides whether the results of a TaskRun are the ones its steps signed.
//
// A [Verifier] is built once from a trust bundle and used for any number of TaskRuns, also concurrently. It reads the
// evidence that the steps left in their termination messages, rebuilds what was signed from the TaskRun as it is now,
// and replays Tekton's own merge of messages into status.results. Every look is a [Check] with what was expected and
// what was found; the checks of a TaskRun add up to one [Verdict].
//
// The package uses no network and prints nothing. docs/format.md is the specification that it implements.
package verify
