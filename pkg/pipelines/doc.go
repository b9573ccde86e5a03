// SPDX-License-Identifier: Apache-2.0

// Package pipelines looks at a PipelineRun as a whole: which objects are its own children, whether each child ran what the pipeline
// names with the values that its verified children gave, and whether its results are theirs. It reads nothing itself. The plugin and
// the add-on share it. What Tekton makes of references to results is made here with Tekton's own functions as far as these can be
// linked; for the rest a test compares both.
package pipelines
