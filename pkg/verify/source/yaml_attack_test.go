// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
)

// TestHiddenDocuments checks that a document that begins after another kind of YAML line break is read or
// refused, never skipped, because other readers of the file see it.
func TestHiddenDocuments(t *testing.T) {
	const one = "apiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata:\n  name: %s\n  namespace: ci"
	for _, sep := range []string{"\r", "\u0085", "\u2028", "\u2029", "\r\n", "\n"} {
		for _, mark := range []string{"---", "--- ", "---\t", "...", "... ", "--- #", "...\n---", "---\u2028", "---\r"} {
			file := fmt.Sprintf(one, "first") + sep + mark + sep + fmt.Sprintf(one, "second") + "\n"
			names, problems := "", 0
			for o := range source.Read(strings.NewReader(file)) {
				tr, err := o.TaskRun()
				if err != nil {
					problems++
					continue
				}
				names += tr.Name + " "
			}
			if problems == 0 && names != "first second " {
				t.Errorf("after %q %q: read %q, and nothing is amiss", sep, mark, names)
			}
		}
	}
}
