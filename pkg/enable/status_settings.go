// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// readSettings reads ConfigMap config-signing.
func (l *look) readSettings(ctx context.Context) {
	where := l.status.Environment.TektonNamespace
	object := &status.Object{Kind: "ConfigMap", Namespace: where, Name: settings.ConfigMapName}
	cm, err := l.liveSettings(ctx, where)
	switch {
	case err != nil:
		l.unreadable(status.PartSettings, status.CheckSettings, object.String(), err)
		return
	case cm == nil:
		l.known, l.noSettings, l.settings = true, true, settings.Default()
		return
	}
	s, err := settings.Parse(cm.Data)
	if err == nil {
		err = backends.Check(s)
	}
	if err != nil {
		l.add(status.Check{
			Part: status.PartSettings, ID: status.CheckSettings, Status: verify.Fail, Object: object,
			Message: "the add-on cannot use the settings and goes by the last good ones, if it has seen any: " + err.Error(),
			Next:    "correct the ConfigMap, or run " + l.enable(),
		})
		return
	}
	l.known, l.settings = true, s
	l.status.Settings = &status.Settings{Namespace: cm.Namespace, ConfigMap: cm.Name, Values: valuesOf(s, cm)}
	if s.Backend == signing.BackendNone {
		l.note(status.PartSettings, status.CheckSettings, "backend none: signing is off")
		return
	}
	l.pass(status.PartSettings, status.CheckSettings, "can be read")
}

// settingsGone says that an add-on is there without settings: it takes signing for off.
func (l *look) settingsGone() {
	if !l.noSettings {
		return
	}
	if !l.deployment.found {
		l.note(status.PartSettings, status.CheckSettings, "signing was not enabled in this cluster")
		return
	}
	l.known = false
	l.add(status.Check{
		Part: status.PartSettings, ID: status.CheckSettings, Status: verify.Fail,
		Object:  &status.Object{Kind: "ConfigMap", Namespace: l.status.Environment.TektonNamespace, Name: settings.ConfigMapName},
		Message: "is missing, although the add-on is installed: nothing is signed or verified",
		Next:    l.enable(),
	})
}

// valuesOf lists the settings with the keys that hold them.
func valuesOf(s settings.Settings, cm *corev1.ConfigMap) []status.Setting {
	enforcement := settings.KeyEnforcement
	if _, ok := cm.Data[enforcement]; !ok && cm.Data[settings.KeyEnforcementAlias] != "" {
		enforcement = settings.KeyEnforcementAlias
	}
	var values []status.Setting
	for _, field := range settings.Fields() {
		if field.Key == otherScope(s) {
			continue
		}
		key := field.Key
		if key == settings.KeyEnforcement {
			key = enforcement
		}
		_, set := cm.Data[key]
		values = append(values, status.Setting{Name: field.Name, Key: key, Value: field.Text(s), Default: !set})
	}
	return values
}

// otherScope returns the key of the scope that s does not use.
func otherScope(s settings.Settings) string {
	if s.Scope.Selector != "" {
		return settings.KeyNamespaces
	}
	return settings.KeyNamespaceSelector
}

// modes counts the namespaces in scope by mode, and looks for labels that are no mode.
func (l *look) modes() {
	if !l.listed || !l.known {
		return
	}
	m := &status.NamespaceModes{}
	var wrong []string
	for _, ns := range l.namespaces {
		if !ns.inScope {
			continue
		}
		m.InScope++
		mode := l.settings.EnforcementOf(ns.labels)
		if mode == settings.Enforce {
			m.Enforce++
		} else {
			m.Audit++
		}
		label, labelled := ns.labels[settings.LabelEnforcement]
		switch {
		case mode != l.settings.Enforcement:
			m.Other = append(m.Other, status.NamespaceMode{Namespace: ns.name, Enforcement: string(mode)})
		case labelled && label != string(mode):
			wrong = append(wrong, fmt.Sprintf("%s=%s", ns.name, label))
		}
	}
	if l.status.Settings != nil {
		l.status.Settings.Namespaces = m
	}
	l.scopeCheck(m.InScope)
	if len(wrong) > 0 {
		l.add(status.Check{
			Part: status.PartSettings, ID: status.CheckEnforcementLabels, Status: verify.Warn,
			Expected: "audit or enforce", Got: fewOf(wrong),
			Message: fmt.Sprintf("label %s is no mode and counts as none", settings.LabelEnforcement),
			Next:    "kubectl label namespace NAME " + settings.LabelEnforcement + "-",
		})
	}
}

// scopeCheck warns of settings that are for nothing.
func (l *look) scopeCheck(inScope int) {
	missing := slices.DeleteFunc(slices.Clone(l.settings.Scope.Names), func(name string) bool {
		return slices.ContainsFunc(l.namespaces, func(ns knownNamespace) bool { return ns.name == name })
	})
	switch {
	case inScope == 0:
		l.add(status.Check{
			Part: status.PartSettings, ID: status.CheckNamespaces, Status: verify.Warn,
			Message: "no namespace is in scope (" + l.settings.Scope.String() + "): nothing is signed",
		})
	case len(missing) > 0:
		l.add(status.Check{
			Part: status.PartSettings, ID: status.CheckNamespaces, Status: verify.Warn,
			Message: "the settings name namespaces that do not exist: " + fewOf(missing),
		})
	}
}

// level warns of policies that are too weak for what they guard.
func (l *look) level() {
	if !l.known || !l.enforces() || l.settings.Policies == settings.PoliciesAuto || l.settings.Policies == settings.PoliciesStrict {
		return
	}
	strict := l.settings
	strict.Policies = settings.PoliciesStrict
	l.add(status.Check{
		Part: status.PartSettings, ID: status.CheckPolicies, Status: verify.Warn,
		Expected: string(settings.PoliciesStrict), Got: string(l.settings.Policies),
		Message: "where results are enforced, who may edit a namespace must not make, enter or imitate a TaskRun's pod",
		Next:    l.options.Program + " " + Command(strict, l.registry),
	})
}

// enforces reports whether the mode of any namespace is enforce, as far as they are known.
func (l *look) enforces() bool {
	if !l.listed {
		return l.settings.Enforcement == settings.Enforce
	}
	return slices.ContainsFunc(l.namespaces, func(ns knownNamespace) bool {
		return ns.inScope && l.settings.EnforcementOf(ns.labels) == settings.Enforce
	})
}

// maxListed is how many names one message holds.
const maxListed = 10

// fewOf joins names, of which the first few stand for many.
func fewOf(names []string) string {
	slices.Sort(names)
	if n := len(names) - maxListed; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), n)
	}
	return strings.Join(names, ", ")
}

// Command returns the arguments of the plugin that enable with these settings and images from this registry.
func Command(s settings.Settings, registry string) string {
	args := []string{"enable", string(s.Backend)}
	flag := func(name, value string) { args = append(args, "--"+name+"="+shellWord(value)) }
	for _, field := range settings.Fields() {
		if value, differs := field.FlagValue(s); differs && field.Flag != "" {
			flag(field.Flag, value)
		}
	}
	if registry != "" && registry != manifests.DefaultRegistry {
		flag("registry", registry)
	}
	return strings.Join(args, " ")
}

// shellWord quotes what a shell would not take for one word.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:=@", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
