// SPDX-License-Identifier: Apache-2.0

// Package admission holds the add-on's two webhook handlers: one wraps the steps of a TaskRun's pod in the signer, the
// other verifies a TaskRun in the write that completes it.
//
// Both run in audit mode: they never refuse a request. Where they cannot do their work the request passes with a warning,
// and nothing in it says that anything was verified.
package admission
