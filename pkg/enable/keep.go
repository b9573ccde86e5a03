// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Kept says which settings stay as the cluster has them, because the user did not name them: those whose default could weaken
// what somebody once decided. All others have the default again.
type Kept struct {
	Enforcement, Policies, MinimumFormat, KeepMaterial, GateChains, Exempt, Audience, ManagedBy, CustomRuns, PullSecrets bool
}

// current returns the settings of ConfigMap config-signing, the defaults if there is none. Where it cannot be read, these are the
// settings of the keys that can, and unread says why.
func current(live *corev1.ConfigMap) (s settings.Settings, unread *unreadSettings) {
	if live == nil {
		return settings.Default(), nil
	}
	s, err := settings.Parse(live.Data)
	if err == nil {
		return s, nil
	}
	s, bad := settings.ReadEach(live.Data)
	return s, &unreadSettings{live: live, cause: err, bad: bad}
}

// unreadSettings are settings that cannot be read. They never become the defaults, which could be weaker.
type unreadSettings struct {
	live  *corev1.ConfigMap
	cause error
	bad   map[string]error // by key
}

// checkNamed is an error as long as the request leaves to settings that cannot be read what they would decide. Enforcement and policies
// are to be named in any case: who wrote the ConfigMap may have meant others than the keys that can be read.
func (r Request) checkNamed(unread *unreadSettings) error {
	if unread == nil {
		return nil
	}
	if key := unread.unknown(); key != "" {
		return fmt.Errorf("ConfigMap %s/%s: key %s: %w", unread.live.Namespace, unread.live.Name, key, unread.bad[key])
	}
	var missing []string
	for _, kept := range r.Keep.flags() {
		if _, bad := unread.bad[kept.key]; kept.keep && (bad || kept.always) {
			missing = append(missing, "--"+kept.flag)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("ConfigMap %s/%s cannot be read, and what you do not name would become weaker than it was meant to be: add %s. It holds %s: %w",
		unread.live.Namespace, unread.live.Name, strings.Join(missing, ", "), unread.holds(), unread.cause)
}

// unknown returns a key that this version does not know: it has to go, whatever is named.
func (u *unreadSettings) unknown() string {
	for _, key := range slices.Sorted(maps.Keys(u.bad)) {
		if !slices.Contains(settingsKeys(), key) {
			return key
		}
	}
	return ""
}

// holds lists the keys of ours with their values.
func (u *unreadSettings) holds() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(u.live.Data)) {
		if !slices.Contains(settingsKeys(), key) {
			continue
		}
		part := fmt.Sprintf("%s: %.100q", key, u.live.Data[key])
		if u.bad[key] != nil {
			part += " (not valid)"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// keptFlag is a setting that may stay as the cluster has it.
type keptFlag struct {
	key, flag    string
	keep, always bool // always: to be named whenever the settings cannot be read
}

func (k Kept) flags() []keptFlag {
	return []keptFlag{
		{settings.KeyEnforcement, "enforcement", k.Enforcement, true},
		{settings.KeyPolicies, "policies", k.Policies, true},
		{settings.KeyMinimumFormat, "minimum-format", k.MinimumFormat, false},
		{settings.KeyKeepMaterial, "keep-material", k.KeepMaterial, false},
		{settings.KeyGateChains, "gate-chains", k.GateChains, false},
		{settings.KeyExemptAccounts, "exempt-service-account", k.Exempt, false},
		{settings.KeyAudience, "audience", k.Audience, false},
		{settings.KeyManagedBy, "managed-by", k.ManagedBy, false},
		{settings.KeyCustomRuns, "custom-run-controller", k.CustomRuns, false},
		{settings.KeyPullSecrets, "pull-secret", k.PullSecrets, false},
	}
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
	take(k.PullSecrets, &s.PullSecrets, before.PullSecrets)
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
