// SPDX-License-Identifier: Apache-2.0

// Package tekton compares what tekton-sign makes of references to results with what the controller of Tekton
// makes of them. It is a module of its own: the controller's packages bring the clients of every cloud's key
// store, which nothing else here needs.
package tekton
