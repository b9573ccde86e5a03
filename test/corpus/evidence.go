// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// attack is something done to a TaskRun before its steps sign, or after.
type attack struct {
	name   string
	sign   func(*verifytest.Run)
	tamper func(*v1.TaskRun)
	want   Want
}

// scheme is one way in which steps sign.
type scheme struct {
	name    string
	apply   func(*verifytest.Run)
	honest  Want // of a TaskRun that nobody touched
	attacks []func() []attack
}

// schemes returns every way in which steps sign.
func schemes() []scheme {
	return []scheme{
		{
			name: "payload", apply: func(*verifytest.Run) {}, honest: verified(),
			attacks: []func() []attack{statusAttacks, messageAttacks, coverageAttacks, identityAttacks, headerAttacks, unitAttacks, tokenAttacks},
		},
	}
}

// evidence makes a case of every attack on every scheme.
func (m *maker) evidence() {
	for _, s := range schemes() {
		m.attack(s, attack{name: "untouched", want: s.honest})
		for _, attacks := range s.attacks {
			for _, a := range attacks() {
				m.attack(s, a)
			}
		}
	}
}

func (m *maker) attack(s scheme, a attack) {
	r := m.newRun()
	s.apply(r)
	if a.sign != nil {
		a.sign(r)
	}
	tr := m.sign(r)
	if m.err != nil {
		return
	}
	if a.tamper != nil {
		a.tamper(tr)
	}
	m.add("evidence/"+s.name+"/"+a.name, m.text(tr), a.want)
}
