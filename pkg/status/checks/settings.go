// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// checkSettings checks whether the add-on can use ConfigMap config-signing.
func checkSettings(_ context.Context, c *Cluster) []status.Check {
	object := &status.Object{Kind: "ConfigMap", Namespace: c.Tekton.Namespace, Name: settings.ConfigMapName}
	failed := status.Check{Part: status.PartSettings, ID: status.CheckSettings, Status: verify.Fail, Object: object}
	switch s := c.Settings; {
	case s.ReadErr != nil:
		return one(Unreadable(status.PartSettings, status.CheckSettings, object.String(), s.ReadErr))
	case s.UseErr != nil:
		failed.Message = "the add-on cannot use the settings and goes by the last good ones, if it has seen any: " +
			s.UseErr.Error()
		failed.Next = "correct the ConfigMap, or run " + c.enableCommand()
		return one(failed)
	case s.ConfigMap == nil && c.AddOn.Deployment == nil:
		return one(note(status.PartSettings, status.CheckSettings, "signing was not enabled in this cluster"))
	case s.ConfigMap == nil: // the add-on takes signing for off
		failed.Message = "is missing, although the add-on is installed: nothing is signed or verified"
		failed.Next = c.enableCommand()
		return one(failed)
	case s.Backend == signing.BackendNone:
		return one(note(status.PartSettings, status.CheckSettings, "backend none: signing is off"))
	}
	return one(pass(status.PartSettings, status.CheckSettings, "can be read"))
}

// checkPolicies warns of policies that are too weak where results are enforced.
func checkPolicies(_ context.Context, c *Cluster) []status.Check {
	level := c.Settings.Policies
	if !c.Known() || !c.Enforces() || level == settings.PoliciesAuto || level == settings.PoliciesStrict {
		return nil
	}
	strict := *c
	strict.Settings.Policies = settings.PoliciesStrict
	return one(status.Check{
		Part: status.PartSettings, ID: status.CheckPolicies, Status: verify.Warn,
		Expected: string(settings.PoliciesStrict), Got: string(level),
		Message: "where results are enforced, who may edit a namespace must not make, enter or imitate a TaskRun's pod",
		Next:    strict.enableCommand(),
	})
}

// reportSettings returns the settings for the report, nil if the ConfigMap is missing or cannot be used.
func (c *Cluster) reportSettings() *status.Settings {
	cm := c.Settings.ConfigMap
	if cm == nil || c.Settings.UseErr != nil {
		return nil
	}
	report := &status.Settings{
		Namespace: cm.Namespace, ConfigMap: cm.Name, Values: valuesOf(c.Settings.Settings, cm),
	}
	if !c.Off() && c.Listed() {
		report.Namespaces = c.modes()
	}
	return report
}

// valuesOf lists the settings with the keys that hold them.
func valuesOf(s settings.Settings, cm *corev1.ConfigMap) []status.Setting {
	var values []status.Setting
	for _, field := range settings.Fields() {
		if field.Key == otherScope(s) || field.Of != "" && field.Of != s.Backend {
			continue
		}
		key := field.Key
		if key == settings.KeyEnforcement {
			key = enforcementKey(cm)
		}
		_, set := cm.Data[key]
		values = append(values, status.Setting{Name: field.Name, Key: key, Value: field.Text(s), Default: !set})
	}
	return values
}

// enforcementKey returns the key that holds the enforcement: it has two names.
func enforcementKey(cm *corev1.ConfigMap) string {
	if _, ok := cm.Data[settings.KeyEnforcement]; !ok && cm.Data[settings.KeyEnforcementAlias] != "" {
		return settings.KeyEnforcementAlias
	}
	return settings.KeyEnforcement
}

// otherScope returns the key of the scope that s does not use.
func otherScope(s settings.Settings) string {
	if s.Scope.Selector != "" {
		return settings.KeyNamespaces
	}
	return settings.KeyNamespaceSelector
}
