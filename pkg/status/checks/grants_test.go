// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
)

func TestGrants(t *testing.T) {
	testAmiss(t, checkGrants, map[string]amissCase{
		"a grant of another version": {
			func(in *installed) {
				dropGrant(in, "ci")
				in.add(manifests.Grant(signing.BackendOIDCSAToken, "ci", "before"))
			}, status.Broken,
			[]string{"fail grants RoleBinding ci/tekton-sign-token-requester: was changed", manifests.AnnotationFence},
		},
		"a namespace lacks its grant": {
			func(in *installed) { in.add(enabletest.Namespace("mine", nil)); dropGrant(in, "ci") }, status.Broken,
			[]string{"fail grants", "1 of 2 namespaces in scope lack RoleBinding", "none in ci"},
		},
		"a namespace out of scope has a grant": {
			func(in *installed) {
				in.add(enabletest.Grant("other"))
			}, status.Broken, []string{"fail grants", "expected no grant out of scope, got one in other"},
		},
		"a grant is for everybody": {
			func(in *installed) {
				dropGrant(in, "ci")
				grant := enabletest.Grant("ci")
				grant.Subjects[0].Name = "system:authenticated"
				in.add(grant)
			}, status.Broken, []string{"fail grants RoleBinding ci/tekton-sign-token-requester: was changed",
				"system:serviceaccounts:ci", "system:authenticated"},
		},
	})
}
