// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// attack is a change of a TaskRun before or after its steps sign.
type attack struct {
	name   string
	sign   func(*verifytest.Run)
	tamper func(*v1.TaskRun)
	want   Want

	evidence bool // a step left evidence although the TaskRun is UNSIGNED
}

// scheme is one way in which steps sign.
type scheme struct {
	name    string
	format  signing.Format
	scheme  signing.Scheme
	byLog   bool // values travel by the log of Tekton's results sidecar
	honest  Want // of a TaskRun without changes
	attacks []func() []attack
}

// schemes returns every way in which steps sign.
func schemes() []scheme {
	v2 := []func() []attack{
		statusAttacks, stepAttacks, messageAttacks, formAttacks, coverageAttacks, identityAttacks, headerAttacks, unitAttacks,
	}
	with := func(more ...func() []attack) []func() []attack { return append(slices.Clone(v2), more...) }
	legacy := []func() []attack{statusAttacks, formAttacks, legacyAttacks}
	return []scheme{
		{
			name: "payload", format: signing.FormatV2, scheme: signing.SchemeOIDCPayloadBound, honest: verified(),
			attacks: with(accountAttacks, tokenAttacks, reuseAttacks),
		},
		{
			name: "sidecar-logs", format: signing.FormatV2, scheme: signing.SchemeOIDCPayloadBound, byLog: true,
			honest:  verified(),
			attacks: []func() []attack{statusAttacks, stepAttacks, headerAttacks, accountAttacks, tokenAttacks, reuseAttacks},
		},
		{
			name: "key", format: signing.FormatV2, scheme: signing.SchemeOIDCKeyBound, honest: verified(),
			attacks: with(accountAttacks, tokenAttacks, reuseAttacks, signatureAttacks, keyAttacks),
		},
		{
			name: "audience", format: signing.FormatV2, scheme: signing.SchemeOIDCAudienceOnly,
			honest:  missing(verify.CheckAssurance),
			attacks: with(accountAttacks, tokenAttacks, signatureAttacks),
		},
		{
			name: "svid", format: signing.FormatV2, scheme: signing.SchemeSPIRE, honest: verified(),
			attacks: with(signatureAttacks, certificateAttacks),
		},
		{
			name: "v1-key", format: signing.FormatV1, scheme: signing.SchemeOIDCKeyBound, honest: verified(),
			attacks: append(slices.Clone(legacy), accountAttacks, tokenAttacks),
		},
		{
			name: "v1-audience", format: signing.FormatV1, scheme: signing.SchemeOIDCAudienceOnly,
			honest:  missing(verify.CheckAssurance),
			attacks: append(slices.Clone(legacy), accountAttacks),
		},
		{
			name: "v1-svid", format: signing.FormatV1, scheme: signing.SchemeSPIRE, honest: verified(),
			attacks: append(slices.Clone(legacy), certificateAttacks),
		},
	}
}

// evidence makes a case for every attack on every scheme.
func (m *maker) evidence() {
	for _, s := range schemes() {
		m.attack(s, attack{name: "untouched", want: s.honest})
		for _, attacks := range s.attacks {
			for _, a := range attacks() {
				m.attack(s, a)
			}
		}
		if s.format == signing.FormatV1 {
			m.attack(s, attack{name: "where v2 is wanted", want: failed(verify.CheckFormat)}, "--minimum-format", "v2")
		}
	}
}

func (m *maker) attack(s scheme, a attack, args ...string) {
	r := m.newRun()
	if strings.HasPrefix(a.name, "step result") || strings.HasSuffix(a.name, "entry of type 4") {
		m.withScan(r)
	}
	r.Format, r.Scheme = s.format, s.scheme
	if s.format == signing.FormatV1 {
		onlyTaskResults(r)
		m.issueFromRoot(r) // evidence of format v1 has no intermediate certificates
	}
	if a.want == verified() || a.evidence {
		a.want = worse(a.want, s.honest) // audience-only evidence is never verified from a file
	}
	sign := m.sign
	if s.byLog {
		sign = m.signByLog
		switch a.want.Check { // without values in messages, there is nothing to compare the status with
		case verify.CheckResults, verify.CheckStepResults:
			a.want = failed(verify.CheckPayload)
		}
	}
	m.apply("evidence/"+s.name, r, sign, a, args...)
}

// apply makes the case for an attack on a run.
func (m *maker) apply(
	group string, r *verifytest.Run, sign func(*verifytest.Run) *v1.TaskRun, a attack, args ...string,
) {
	if a.sign != nil {
		a.sign(r)
	}
	tr := sign(r)
	if m.err != nil {
		return
	}
	if a.tamper != nil {
		a.tamper(tr)
	}
	m.add(group+"/"+a.name, m.text(tr), a.want, args...)
}

// onlyTaskResults removes what format v1 does not sign.
func onlyTaskResults(r *verifytest.Run) {
	for i := range r.Steps {
		r.Steps[i].Entries = slices.DeleteFunc(slices.Clone(r.Steps[i].Entries), func(e result.RunResult) bool {
			return e.ResultType != result.TaskRunResultType
		})
	}
	r.Spec.Steps[0].Results = nil
}

func (m *maker) issueFromRoot(r *verifytest.Run) {
	for i := range r.Steps {
		r.Steps[i].Issuer = m.root
	}
}

// worse returns the answer with the worse verdict.
func worse(a, b Want) Want {
	if verify.Worse(a.Verdict, b.Verdict) == a.Verdict {
		return a
	}
	return b
}
