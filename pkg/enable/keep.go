// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Kept says which settings stay as the cluster has them, because the user did not name them: those whose default could weaken
// what somebody once decided. All others have the default again.
type Kept struct {
	Enforcement, Policies, MinimumFormat, KeepMaterial, GateChains, Exempt, Audience, ManagedBy, CustomRuns bool
}

// current returns the settings of ConfigMap config-signing, the defaults if there is none. Settings that cannot be read are
// reported when they are merged.
func current(live *corev1.ConfigMap) settings.Settings {
	if live == nil {
		return settings.Default()
	}
	s, err := settings.Parse(live.Data)
	if err != nil {
		return settings.Default()
	}
	return s
}

// keep takes over from the cluster's settings what r is to keep.
func (r *Request) keep(before settings.Settings) {
	s, k := &r.Settings, r.Keep
	take(k.Enforcement, &s.Enforcement, before.Enforcement)
	take(k.Policies, &s.Policies, before.Policies)
	take(k.MinimumFormat, &s.MinimumFormat, before.MinimumFormat)
	take(k.KeepMaterial, &s.KeepMaterial, before.KeepMaterial)
	take(k.GateChains, &s.GateChains, before.GateChains)
	take(k.Exempt, &s.Exempt, before.Exempt)
	take(k.Audience, &s.AudiencePrefix, before.AudiencePrefix)
	take(k.ManagedBy, &s.ManagedBy, before.ManagedBy)
	take(k.CustomRuns, &s.CustomRunControllers, before.CustomRunControllers)
}

func take[T any](keep bool, setting *T, before T) {
	if keep {
		*setting = before
	}
}

// checkConsent is an error where enforcement is turned on and the weaker policies of the cluster would stay: they were chosen
// for audit.
func (r Request) checkConsent(before settings.Settings) error {
	turnedOn := r.Settings.Enforcement == settings.Enforce && before.Enforcement != settings.Enforce
	if turnedOn && r.Keep.Policies && r.Settings.Policies == settings.PoliciesStandard {
		return fmt.Errorf("the settings of this cluster have policies %s, and enforcement wants %s: add --policies %s, "+
			"or --policies %s if whoever edits a namespace may imitate, enter and describe its TaskRuns",
			settings.PoliciesStandard, settings.PoliciesStrict, settings.PoliciesStrict, settings.PoliciesStandard)
	}
	return nil
}
