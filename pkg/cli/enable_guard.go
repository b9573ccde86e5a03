// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// guardOptions are the flags of enable that say what a failed verification does, and what guards it.
type guardOptions struct {
	enforcement   string
	policies      string
	minimumFormat string
	keepMaterial  bool
	gateChains    bool
	keep          enable.Kept // of those that were not given
}

// policiesAuto is the value of --policies that stands for settings.PoliciesAuto.
const policiesAuto settings.Policies = "auto"

func (o *guardOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.enforcement, "enforcement", "",
		"what a failed verification does: audit (record it), enforce (fail the TaskRun) (default: as it is, at first audit)")
	f.StringVar(&o.policies, "policies", "",
		"admission policies: standard, strict, auto (strict where results are enforced) (default: as they are, at first auto)")
	f.StringVar(&o.minimumFormat, "minimum-format", "",
		"weakest format of evidence that counts: v1 or v2 (default: as it is, at first v2 where results are enforced, else any)")
	f.BoolVar(&o.keepMaterial, "keep-material", false,
		"leave the signing material in status.results (default: as it is, at first false: it is taken out once verified)")
	f.BoolVar(&o.gateChains, "gate-chains", false,
		"keep Tekton Chains from TaskRuns and PipelineRuns until they are verified (default: as it is, at first false)")
}

// given notes which of the flags were not given: what they stand for stays as it is.
func (o *guardOptions) given(f *pflag.FlagSet) {
	o.keep.Enforcement, o.keep.Policies = !f.Changed("enforcement"), !f.Changed("policies")
	o.keep.MinimumFormat = !f.Changed("minimum-format")
	o.keep.KeepMaterial, o.keep.GateChains = !f.Changed("keep-material"), !f.Changed("gate-chains")
}

// set writes into the settings what the flags say.
func (o *guardOptions) set(s *settings.Settings) (err error) {
	if !o.keep.Enforcement {
		if s.Enforcement, err = settings.ParseEnforcement(o.enforcement); err != nil {
			return fmt.Errorf("--enforcement: %w", err)
		}
	}
	if !o.keep.Policies && o.policies != string(policiesAuto) {
		if s.Policies, err = settings.ParsePolicies(o.policies); err != nil {
			return fmt.Errorf("--policies: %w, or %s", err, policiesAuto)
		}
	}
	if !o.keep.MinimumFormat {
		if s.MinimumFormat, err = signing.ParseFormat(o.minimumFormat); err != nil {
			return fmt.Errorf("--minimum-format: %w", err)
		}
	}
	s.KeepMaterial, s.GateChains = o.keepMaterial, o.gateChains
	return nil
}

// describePolicies names the level of policies for people.
func describePolicies(p settings.Policies) string {
	if p == settings.PoliciesAuto {
		return "strict where enforced"
	}
	return string(p)
}
