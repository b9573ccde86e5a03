// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"strings"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// TestTektonsSigner leaves a pod that Tekton's own signer signs to that signer, and refuses it only where results are
// enforced and its evidence would not count.
func TestTektonsSigner(t *testing.T) {
	const (
		off = `{"metadata":{"name":"build-pod"},"spec":{"containers":[{"name":"step-make",` +
			`"command":["/tekton/bin/entrypoint"],"args":["-post_file","/tekton/run/0/out","--"]}]}}`
		both   = "Tekton's own signer is on (enforce-nonfalsifiability in ConfigMap feature-flags), and so is the add-on's"
		legacy = "its format v1 does not count here"
	)
	on := strings.Replace(off, `"args":[`, `"args":["-enable_spire",`, 1)
	for name, c := range map[string]struct {
		pod     string
		signer  settings.Signer
		mode    settings.Enforcement
		minimum signing.Format
		wrapped bool
		reason  string // in the annotation
		left    LeftAlone
		refused bool
	}{
		"ours":                {off, settings.SignerAddOn, settings.Audit, "", true, "", "", false},
		"Tekton's":            {on, settings.SignerTekton, settings.Audit, "", false, "", "", false},
		"Tekton's, enforced":  {on, settings.SignerTekton, settings.Enforce, "v1", false, "", "", false},
		"Tekton's, v2 wanted": {on, settings.SignerTekton, settings.Enforce, "", false, legacy, LeftSkipped, true},
		"Tekton's is off":     {off, settings.SignerTekton, settings.Audit, "", false, "that is off", LeftSkipped, false},
		"Tekton's is off, enforced": {
			off, settings.SignerTekton, settings.Enforce, "v1", false, "that is off", LeftSkipped, true,
		},
		"both":                {on, settings.SignerAddOn, settings.Audit, "", false, both, LeftTekton, false},
		"both, enforced":      {on, settings.SignerAddOn, settings.Enforce, "v1", false, both, LeftTekton, false},
		"both, v2 wanted":     {on, settings.SignerAddOn, settings.Audit, "v2", false, legacy, LeftSkipped, false},
		"both, enforced, v2":  {on, settings.SignerAddOn, settings.Enforce, "", false, legacy, LeftSkipped, true},
		"of others, enforced": {on, settings.SignerAddOn, settings.Enforce, "", false, legacy, LeftSkipped, false},
	} {
		t.Run(name, func(t *testing.T) {
			handler, left := newInjectHandler(wrap), LeftAlone("")
			handler.Scope = fakeScope{backend: signing.BackendSPIRE, mode: c.mode, signer: c.signer, minimum: c.minimum}
			handler.Tekton, handler.OnLeftAlone = tekton, func(kind LeftAlone) { left = kind }
			request := podCreation(c.pod)
			if request.UserInfo.Username = tekton; strings.HasPrefix(name, "of others") {
				request.UserInfo.Username = "another"
			}
			response := handler.Admit(t.Context(), request)
			if response.Allowed == c.refused || left != c.left {
				t.Fatalf("allowed %t, left alone %q", response.Allowed, left)
			}
			if c.refused {
				if !strings.Contains(response.Result.Message, c.reason) {
					t.Errorf("refused with %q", response.Result.Message)
				}
				return
			}
			after := stored(t, response, request.Object)
			annotations, _ := after["metadata"].(fields)["annotations"].(fields)
			note, _ := annotations[signing.UnsignedAnnotation].(string)
			if (note == "") != (c.reason == "") || !strings.Contains(note, c.reason) ||
				len(response.Warnings) != len(annotations) {
				t.Errorf("annotation %q, warnings %q", note, response.Warnings)
			}
			command := after["spec"].(fields)["containers"].([]any)[0].(fields)["command"].([]any)[0]
			if got := command == step.ImagePath; got != c.wrapped {
				t.Errorf("command %v", command)
			}
		})
	}
}
