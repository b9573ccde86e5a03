// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Command returns the arguments of the plugin that enable with these settings, and images from this registry.
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

// shellWord quotes text that a shell would not read as one word.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:=@", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
