// SPDX-License-Identifier: Apache-2.0

// Package pipelines judges a PipelineRun as a whole: which objects are its own children, whether each child ran what
// the pipeline defines with the values of its verified children, and whether its results come from them. It does not
// read anything itself. The plugin and the add-on share it. It replaces references with Tekton's own functions where
// these can be linked. A test compares the rest with Tekton.
package pipelines
