// SPDX-License-Identifier: Apache-2.0

// Package enable turns result signing on and off. It inspects the cluster, compares what an installation consists of with
// what is there, and applies the difference; the plugin shows and confirms the [Plan] in between.
//
// Nothing is written before [Plan.Apply]. Every step can be repeated: an interrupted run is finished by the next one.
package enable
