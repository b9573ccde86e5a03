// SPDX-License-Identifier: Apache-2.0

package manifests_test

import (
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Bundles name the account as the recorder that the manifests run the add-on with.
func TestRecorder(t *testing.T) {
	account := settings.Account{Namespace: manifests.Namespace, Name: manifests.ServiceAccount}
	if got := account.Username(); got != trust.AddOn {
		t.Errorf("expected the recorder %s, got %s", got, trust.AddOn)
	}
}
