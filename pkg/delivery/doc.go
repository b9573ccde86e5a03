// SPDX-License-Identifier: Apache-2.0

// Package delivery keeps the namespaces in which the signer is not delivered as the settings ask: a policy
// refuses pods with it, or they cannot start with it. They stand in ConfigMap delivery in the add-on's
// namespace. The keeper writes what it tried, the leading replica of the webhooks writes what it saw, and
// everybody reads both.
//
// A key of the ConfigMap is a namespace, a dot and a source. The value of trial, start and refusal is an Exception as JSON. Only
// namespaces with an exception have keys, and those for which a trial is asked for.
package delivery
