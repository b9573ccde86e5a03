// SPDX-License-Identifier: Apache-2.0

// Package serve runs the HTTP servers of the add-on: the one for the webhooks, and the one for probes and metrics.
// It drains the webhooks before they stop, so that a stopping replica does not cause errors in API servers. It does
// not know what the handlers do.
package serve
