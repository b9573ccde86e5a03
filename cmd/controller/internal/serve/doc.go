// SPDX-License-Identifier: Apache-2.0

// Package serve runs the HTTP servers of the add-on: that of the webhooks, which is drained before it ends so that no API
// server gets an error from a replica that goes, and that of the probes and metrics. It knows nothing of what is served.
package serve
