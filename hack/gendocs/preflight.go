// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/preflight"
)

// preflightFile is where the checks of preflight are described. Their reports link to its sections.
const preflightFile = "preflight.md"

// preflightIntro has a single quote for each backquote.
const preflightIntro = `# Preflight

'kubectl tekton-sign preflight [BACKEND]' checks whether a cluster is ready for signing, before anything is
installed. Give it the flags that you will give 'enable'. [The reference](cli/kubectl_tekton-sign_preflight.md)
describes its flags, formats and exit codes. The JSON schema of its report is in
[schema](schema/preflightreport.v1alpha1.json).

A check passes, fails, has a warning, is unknown (something could not be read), or is skipped because it does not
apply. Each has an ID that is never used again for another check. '--only' and '--skip' take IDs and groups. For the
state of a cluster in which signing is on, see 'kubectl tekton-sign status'.

Preflight changes nothing. TS502 starts a few short pods, TS603 asks for pods as a dry run, and TS402 requests one
signing token, which it throws away.
`

// preflightDocs returns the page about the checks of preflight. This text is generated from their table.
func preflightDocs() []byte {
	var b bytes.Buffer
	b.WriteString(strings.ReplaceAll(preflightIntro, "'", "`"))
	for _, group := range preflight.Groups() {
		fmt.Fprintf(&b, "\n## %s%s\n", strings.ToUpper(string(group[:1])), group[1:])
		for _, c := range preflight.Checks() {
			if c.Group == group {
				fmt.Fprintf(&b, "\n### %s\n**%s**\n\n%s.\n\nIf not: %s\n", c.ID, capital(c.Title), capital(c.Why), c.Fix)
			}
		}
	}
	return b.Bytes()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
