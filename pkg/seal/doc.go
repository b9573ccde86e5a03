// SPDX-License-Identifier: Apache-2.0

// Package seal authenticates what a replica of the add-on found when it judged a TaskRun (docs/seal.md). The
// seal is in the write that stores the verdict, so that any replica can make the record from it later,
// without the pod. A condition without a matching seal proves nothing.
package seal

// Annotation is the key of status.annotations under which a TaskRun carries its seal.
const Annotation = "tekton-sign.dev/seal"
