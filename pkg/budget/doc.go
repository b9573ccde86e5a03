// SPDX-License-Identifier: Apache-2.0

// Package budget simulates signing: how many bytes the messages of a Task's steps take with evidence in them, whether
// they fit into what the kubelet leaves them, and what would make them fit. It injects the signer into a model of the
// pod, as the webhook does, and fills messages with evidence of the right length, as the signer does.
//
// Every string may hold text from a cluster or a file: escape it before you show it to a person.
package budget
