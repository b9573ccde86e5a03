// SPDX-License-Identifier: Apache-2.0

// Package reconciler holds what the add-on keeps up beside its webhooks: its view of the settings, the namespaces
// and the nodes; the certificate authority in the webhook configurations; the token grants; the trust history; and
// the records of completed TaskRuns.
//
// The views and the history run in every replica, the rest in the one that leads. Informers ask for no more than
// they need: one object by its name, metadata, or nodes stripped to what is looked at. None of them grows with the
// TaskRuns of the cluster.
package reconciler
