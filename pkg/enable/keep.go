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

// current returns the settings of ConfigMap config-signing, the defaults if there is none. Where some keys cannot be
// parsed, these are the settings of the others, and unread has the reason.
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

// unreadSettings are settings that cannot be parsed. They never become the defaults, which could be weaker.
type unreadSettings struct {
	live  *corev1.ConfigMap
	cause error
	bad   map[string]error // by key
}

// checkNamed is an error as long as the request keeps settings that cannot be parsed. Enforcement and policies have
// to be named in any case: the author of the ConfigMap may have meant others than the keys that can be parsed.
func (r Request) checkNamed(unread *unreadSettings) error {
	if unread == nil {
		return nil
	}
	if key := unread.unknown(); key != "" {
		return fmt.Errorf("ConfigMap %s/%s: key %s: %w", unread.live.Namespace, unread.live.Name, key, unread.bad[key])
	}
	var missing []string
	for _, field := range settings.Fields() {
		_, bad := unread.bad[field.Key]
		if r.keeps(field) && (bad || field.Named) {
			missing = append(missing, "--"+field.Flag)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("ConfigMap %s/%s cannot be read, and what you do not name would become weaker "+
		"than it was meant to be: add %s. It holds %s: %w",
		unread.live.Namespace, unread.live.Name, strings.Join(missing, ", "), unread.holds(), unread.cause)
}

// unknown returns a key that this version does not know. It has to be removed, whatever the request names.
func (u *unreadSettings) unknown() string {
	for _, key := range slices.Sorted(maps.Keys(u.bad)) {
		if !slices.Contains(settings.Keys(), key) {
			return key
		}
	}
	return ""
}

// holds lists our keys with their values.
func (u *unreadSettings) holds() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(u.live.Data)) {
		if !slices.Contains(settings.Keys(), key) {
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

// keeps reports whether the setting stays as the cluster has it.
func (r Request) keeps(field settings.Field) bool { return slices.Contains(r.Keep, field.Key) }

// keep copies from the cluster's settings what r is to keep.
func (r *Request) keep(before settings.Settings) {
	for _, field := range settings.Fields() {
		if r.keeps(field) {
			field.Copy(&r.Settings, before)
		}
	}
}

// checkConsent is an error where the request turns enforcement on and keeps the weaker policies of the cluster, which
// were chosen for audit.
func (r Request) checkConsent(before settings.Settings) error {
	turnedOn := r.Settings.Enforcement == settings.Enforce && before.Enforcement != settings.Enforce
	if turnedOn && slices.Contains(r.Keep, settings.KeyPolicies) && r.Settings.Policies == settings.PoliciesStandard {
		return fmt.Errorf("the settings of this cluster have policies %s, and enforcement needs %s: add --policies %s, "+
			"or --policies %s if editors of a namespace may imitate its TaskRuns, get into them and write their status",
			settings.PoliciesStandard, settings.PoliciesStrict, settings.PoliciesStrict, settings.PoliciesStandard)
	}
	return nil
}
