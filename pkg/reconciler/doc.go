// SPDX-License-Identifier: Apache-2.0

// Package reconciler contains the add-on's work outside of its webhooks. It has the views of the settings, the
// namespaces and the nodes. It maintains the certificate authority in the webhook configurations, the token grants,
// the trust history, and the records of completed TaskRuns.
//
// The views and the history run in every replica, and the rest in the leader. Informers read no more than they need:
// one object by its name, metadata, or stripped nodes. Their memory does not grow with the TaskRuns of the cluster.
package reconciler
