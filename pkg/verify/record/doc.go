// SPDX-License-Identifier: Apache-2.0

// Package record reads and writes the add-on's own record of what it verified and when: an in-toto statement
// about a completed TaskRun, proven by the add-on's identity (docs/record.md). With it, archives can be
// verified after everything else has expired.
package record

// Annotation is the key of status.annotations under which a TaskRun carries its record. Only the add-on writes it.
const Annotation = "tekton-sign.dev/record"
