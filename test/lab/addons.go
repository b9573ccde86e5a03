// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"time"
)

// What a lab runs only when asked to.
const (
	// Chains is the stock controller of Tekton Chains, in namespace tekton-chains.
	Chains = "chains"
	// SPIRE is a SPIRE server and agent and the SPIFFE CSI driver, in namespace spire.
	SPIRE = "spire"
)

// addTimeout bounds an add-on, its build included.
const addTimeout = 40 * time.Minute

// AddOns are what a lab runs only when asked to.
func AddOns() []string { return []string{Chains, SPIRE} }

// Add gives a running lab one of AddOns, and returns when it serves. Where Chains is there already, it gets a new
// signing key; where SPIRE is, nothing changes.
func (l *Lab) Add(ctx context.Context, name string) error {
	switch name {
	case Chains:
		return l.addChains(ctx)
	case SPIRE:
		_, err := l.AddSPIRE(ctx, SPIREOptions{})
		return err
	}
	return unknownAddOn(name)
}

// Remove takes one of AddOns away again. With Chains goes what it left on TaskRuns and PipelineRuns that would
// keep them from being deleted; SPIRE stays as long as pods run that use its driver.
func (l *Lab) Remove(ctx context.Context, name string) error {
	switch name {
	case Chains:
		return l.removeChains(ctx)
	case SPIRE:
		return l.removeSPIRE(ctx)
	}
	return unknownAddOn(name)
}

func unknownAddOn(name string) error {
	return fmt.Errorf("unknown add-on %q: expected one of %v", name, AddOns())
}
