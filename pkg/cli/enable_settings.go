// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// addSettings gives enable a flag for each setting.
func addSettings(cmd *cobra.Command) {
	f := cmd.Flags()
	for _, field := range settings.Fields() {
		switch {
		case field.Flag == "": // the backend is the argument
			continue
		case field.Kind == settings.List:
			f.StringSlice(field.Flag, nil, field.Help)
		case field.Kind == settings.Switch:
			f.Bool(field.Flag, false, field.Help)
		case field.Kind == settings.Duration:
			value, _ := time.ParseDuration(field.FlagDefault()) // the zero duration if there is no default
			f.Duration(field.Flag, value, field.Help)
		default:
			f.String(field.Flag, field.FlagDefault(), field.Help)
		}
		if len(field.Only) > 0 && field.Kind != settings.Switch {
			completeWords(cmd, field.Flag, slices.Concat(field.FlagOnly, field.Only)...)
		}
	}
}

// givenValue returns the value of a setting's flag, and whether the user set it.
func givenValue(f *pflag.FlagSet, field settings.Field) (string, bool) {
	if field.Kind != settings.List {
		return f.Lookup(field.Flag).Value.String(), f.Changed(field.Flag)
	}
	values, _ := f.GetStringSlice(field.Flag) // the flag is of that type
	return strings.Join(values, ","), f.Changed(field.Flag)
}

// notGiven lists the keys of the settings that stay as the cluster has them.
func notGiven(f *pflag.FlagSet) []string {
	var keys []string
	for _, field := range settings.Fields() {
		if field.Kept && !f.Changed(field.Flag) {
			keys = append(keys, field.Key)
		}
	}
	return keys
}

// policiesText names the level of policies for people.
func policiesText(s settings.Settings) string {
	if field, ok := settings.FieldOf(settings.KeyPolicies); ok {
		return field.Text(s)
	}
	return string(s.Policies)
}

// completeWords offers the values that a flag may have.
func completeWords[T ~string](cmd *cobra.Command, flag string, words ...T) {
	offer := make([]string, len(words))
	for i, w := range words {
		offer[i] = string(w)
	}
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(offer, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist
	}
}
