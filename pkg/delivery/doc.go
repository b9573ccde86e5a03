// SPDX-License-Identifier: Apache-2.0

// Package delivery records the namespaces in which the signer is not delivered as the settings require,
// because a policy refuses pods with it, or because pods cannot start with it. They are in ConfigMap delivery
// in the add-on's namespace. The keeper writes what it tried, and the leading replica of the webhooks writes
// what it saw. All replicas and the plugin read both.
//
// A key of the ConfigMap is a namespace, a dot and a source. The value of trial, start, mount and
// refusal is an Exception as JSON. Only namespaces with an exception or a requested trial have keys.
package delivery
