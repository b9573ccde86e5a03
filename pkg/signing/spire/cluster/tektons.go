// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"path"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
)

// Tekton's own switch for its signer, and its values.
const (
	tektonsKey = "enforce-nonfalsifiability"
	tektonsOn  = "spire"
	tektonsOff = "none"
)

// TektonsSwitch names the switch of Tekton's own signer, for people.
const TektonsSwitch = tektonsKey + " in ConfigMap " + tekton.FeatureFlags

// CheckTektonsSigner compares who signs by the settings with Tekton's own switches, the data of ConfigMap
// feature-flags in its namespace. A finding that is Broken means that nothing which steps sign can count.
func CheckTektonsSigner(s settings.Settings, namespace string, flags map[string]string) cluster.Finding {
	value := cmp.Or(flags[tektonsKey], tektonsOff)
	switch {
	case s.TektonSigns():
		return checkLeft(s, namespace, value)
	case value != tektonsOn:
		return cluster.Finding{Level: cluster.Fine, Message: tektonsKey + " is " + value + ": Tekton itself does not sign"}
	case s.Backend == signing.BackendNone:
		return cluster.Finding{Level: cluster.Fine, Message: tektonsKey + " is " + value + ": Tekton itself signs"}
	}
	return conflict(s, cluster.Finding{
		Level: cluster.Warning, Expected: tektonsOff, Got: value, Next: tekton.SetFlag(namespace, tektonsKey, tektonsOff),
	})
}

// conflict completes the finding where Tekton's own signer is on and the settings do not ask for it.
func conflict(s settings.Settings, f cluster.Finding) cluster.Finding {
	both := "Tekton's own signer is on, and so is " + settings.KeyBackend + ": " + string(s.Backend) + " in ConfigMap " +
		settings.ConfigMapName
	switch {
	case s.Backend != signing.BackendSPIRE:
		f.Message = both + ": pods are left to Tekton's signer, whose SVIDs this backend does not verify, and no pod " +
			"starts without SPIRE's CSI volume"
	case !s.AcceptsTektonIn(s.Enforcement):
		f.Level = cluster.Broken
		f.Message = both + ": pods are left to Tekton's signer, and what it signs, in format v1, does not count"
	default:
		f.Message = both + ": pods are left to Tekton's signer, which signs in format v1"
		f.Next += ", or kubectl tekton-sign enable spire --signer tekton"
	}
	return f
}

// checkLeft checks that Tekton's own signer is on, and finds the agent's socket.
func checkLeft(s settings.Settings, namespace, value string) cluster.Finding {
	if value != tektonsOn {
		return cluster.Finding{
			Message: "the settings leave signing to Tekton's own signer, and that is off: no step signs", Expected: tektonsOn,
			Got: value, Next: tekton.SetFlag(namespace, tektonsKey, tektonsOn),
		}
	}
	want, got := path.Base(config.Default().SocketPath), path.Base(s.SPIRE.SocketPath)
	if got != want {
		return cluster.Finding{
			Message: "Tekton's own signer knows no other socket than " + want + ": no step gets an SVID", Expected: want,
			Got: got, Next: "give SPIRE's agent that socket, or let the add-on sign: kubectl tekton-sign enable spire",
		}
	}
	return cluster.Finding{
		Level: cluster.Fine, Message: tektonsKey + " is " + value + ": Tekton itself signs, in format v1",
	}
}
