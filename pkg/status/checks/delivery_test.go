// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"strings"
	"testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
)

// Each namespace that does not get the signer as the settings ask for is reported: since when, why, and what the
// user can do.
func TestStatusDelivery(t *testing.T) {
	value := func(by, image string) string {
		return `{"delivery":"` + by + `","reason":"policy mine says no","image":"` + image +
			`","since":"2026-01-02T03:04:05Z"}`
	}
	const why = `: expected the signer, of image ` + signerImage + `, got policy mine says no`
	for name, tc := range map[string]struct {
		key, value string
		outcome    status.Outcome
		want       string
	}{
		"nothing":       {"", "", status.Healthy, ""},
		"another image": {"ci.trial", value("none", "reg.example/signer:v1"), status.Healthy, ""},
		"out of scope":  {"other.trial", value("none", signerImage), status.Healthy, ""},
		"refused": {
			"ci.trial", value("none", signerImage), status.Broken,
			"delivery Namespace ci: since 2026-01-02T03:04:05Z pods with the signer are refused: TaskRuns run there unsigned",
		},
		"cannot start": {
			"ci.start", value("none", signerImage), status.Broken,
			"pods with the signer do not start: TaskRuns run there unsigned",
		},
		"refused since": {
			"ci.refusal", value("none", signerImage), status.Broken,
			"pods with the signer are refused: TaskRuns run there unsigned",
		},
		"not mounted": {
			"ci.mount", value("none", signerImage), status.Broken,
			"pods with the signer do not start: TaskRuns run there unsigned",
		},
		"one TaskRun": {
			"ci.u.once", value("none", signerImage), status.Warnings,
			"TaskRuns that ran unsigned in the last minutes, because their pods did not start with the signer: 1",
		},
		"one TaskRun, out of scope": {"other.u.once", value("none", signerImage), status.Healthy, ""},
		"the other way": {
			"ci.trial", value("init", signerImage), status.Warnings,
			"since 2026-01-02T03:04:05Z the signer gets there by init, because pods are refused otherwise",
		},
		"asked for":      {"ci.refused", "2026-01-02T03:04:05Z", status.Healthy, ""},
		"cannot be read": {"ci.trial", "nonsense", status.Warnings, "not read, and not acted upon: key ci.trial: "},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			if tc.key != "" {
				get[settingsMap](in, delivery.ConfigMapName).Data = map[string]string{tc.key: tc.value}
			}
			s := in.status(0)
			if got := amiss(s.Checks); s.Outcome != tc.outcome || !strings.Contains(got, tc.want) ||
				tc.outcome == status.Broken && !strings.Contains(got, why) {
				t.Errorf("got %s and\n%swant %s and %q", s.Outcome, got, tc.outcome, tc.want)
			}
		})
	}
}
