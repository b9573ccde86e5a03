// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
)

// Injects reports whether the inject webhook adds the signer to pods.
func Injects(s settings.Settings) bool { return Of(s.Backend).Signs && !s.TektonSigns() }

// Left is what the settings mean for a pod that gets no signer of the add-on.
type Left struct {
	// Reason is why it gets none, for people. It is empty if that is what the settings ask for.
	Reason string
	// Signs is whether evidence of the pod can count.
	Signs bool
}

// Leave decides about a pod in which Tekton's own signer is active or not. left is false for a pod that gets the
// add-on's signer. No pod gets both: their evidence would be in each other's way.
func Leave(s settings.Settings, mode settings.Enforcement, active bool) (l Left, left bool) {
	switch {
	case !active && !s.TektonSigns():
		return Left{}, false
	case !active:
		return Left{Reason: "the settings leave signing to Tekton's own signer, and that is off (" +
			spirecluster.TektonsSwitch + "): turn it on, or let the add-on sign (enable --signer add-on)"}, true
	}
	l = Left{Signs: s.AcceptsTektonIn(mode)}
	switch {
	case s.Backend == signing.BackendSPIRE && !l.Signs:
		l.Reason = fmt.Sprintf("Tekton's own signer is on (%s), and its format v1 does not count here: turn it off, or "+
			"accept it (enable --minimum-format v1)", spirecluster.TektonsSwitch)
	case !s.TektonSigns():
		l.Reason = fmt.Sprintf("Tekton's own signer is on (%s), and so is the add-on's (%s: %s in ConfigMap %s): "+
			"the pod is left to Tekton's: turn one of them off", spirecluster.TektonsSwitch, settings.KeyBackend, s.Backend,
			settings.ConfigMapName)
	}
	return l, true
}

// CheckTektonsSigner compares the settings with Tekton's own switches, the data of ConfigMap feature-flags in its
// namespace.
func CheckTektonsSigner(s settings.Settings, namespace string, flags map[string]string) cluster.Finding {
	return spirecluster.CheckTektonsSigner(s, namespace, flags)
}
