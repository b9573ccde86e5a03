// SPDX-License-Identifier: Apache-2.0

// Package enable turns result signing on and off. It inspects the cluster, compares the objects of an installation
// with those in the cluster, and applies the difference. In between, the plugin shows the [Plan] and asks the user to
// confirm it.
//
// Nothing is written before [Plan.Apply]. Every step can be repeated: the next run completes an interrupted one.
//
// To change the cluster there are a few small types: planner and finder find the changes, writer makes them, remover
// waits until everything is gone, serving waits until the add-on signs, and pullProof shows that nodes get the
// signer.
package enable
