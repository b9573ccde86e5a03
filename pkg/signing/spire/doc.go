// SPDX-License-Identifier: Apache-2.0

// Package spire is the backend spire: SPIRE gives a TaskRun's pod an X.509-SVID (SPIFFE), whose key signs.
// The package has the signer of a step, and reads and verifies its certificates. Only the signer opens a socket.
package spire
