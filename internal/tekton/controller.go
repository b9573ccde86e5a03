// SPDX-License-Identifier: Apache-2.0

package tekton

import "strings"

// Controllers selects Tekton's controller in every release and distribution, in any kind of workload.
const Controllers = "app.kubernetes.io/part-of=tekton-pipelines,app.kubernetes.io/component=controller"

// FlagValue returns the value of a flag in a command line, in the forms of Go's package flag. found reports
// whether the flag is set.
func FlagValue(args []string, name string) (value string, found bool) {
	for i, arg := range args {
		got, value, joined := strings.Cut(arg, "=")
		if got != "-"+name && got != "--"+name {
			continue
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		return value, true
	}
	return "", false
}
