// SPDX-License-Identifier: Apache-2.0

// Package spire is the backend spire: SPIRE gives a TaskRun's pod an X.509-SVID (SPIFFE), whose key signs.
// This package reads, writes and verifies the certificates. It opens no socket: package workload does.
package spire
