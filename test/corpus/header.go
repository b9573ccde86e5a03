// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// manifest replaces the manifest of the first step after it was signed.
func manifest(change func(string) string) func(*verifytest.Run) {
	return func(r *verifytest.Run) {
		r.Steps[0].Carriers = func(c map[string]string) {
			c[signing.CarrierManifest] = change(c[signing.CarrierManifest])
		}
	}
}

// headerByte replaces one byte of the header after it was signed. Offsets are those of docs/evidence.md.
func headerByte(offset int, change func(byte) byte) func(*verifytest.Run) {
	return manifest(func(m string) string {
		b, err := signing.DecodeBase64URL(strings.TrimPrefix(m, "v2:"))
		if err != nil {
			panic(err) // the virtual signer wrote it
		}
		b[offset] = change(b[offset])
		return "v2:" + base64.RawURLEncoding.EncodeToString(b)
	})
}

func set(value byte) func(byte) byte { return func(byte) byte { return value } }
func flip(bits byte) func(byte) byte { return func(b byte) byte { return b ^ bits } }
func next(b byte) byte               { return b + 1 }

// headerAttacks change the manifest of a step's evidence.
func headerAttacks() []attack {
	format, payload := failed(verify.CheckFormat), failed(verify.CheckPayload)
	position, uid := failed(verify.CheckPosition), failed(verify.CheckTaskRunUID)
	attacks := []attack{
		{name: "version 1", want: format, sign: headerByte(0, set(1))},
		{name: "version 3", want: format, sign: headerByte(0, set(3))},
		{name: "backend unknown", want: format, sign: headerByte(1, set(9))},
		{name: "algorithm unknown", want: format, sign: headerByte(2, set(9))},
		{name: "flag unknown", want: format, sign: headerByte(3, flip(8))},
		{name: "flag of the last step", want: format, sign: headerByte(3, flip(1))},
		{name: "flag of a failing step", want: payload, sign: headerByte(3, flip(4))},
		{name: "pod UID", want: payload, sign: headerByte(4, next)},
		{name: "TaskRun UID", want: uid, sign: headerByte(20, next)},
		{name: "time", want: payload, sign: headerByte(39, next)},
		{name: "index", want: position, sign: func(r *verifytest.Run) {
			headerByte(40, set(1))(r)
			old := r.Steps[0].Carriers
			headerByte(3, flip(1))(r)
			second := r.Steps[0].Carriers
			r.Steps[0].Carriers = func(c map[string]string) { old(c); second(c) }
		}},
		{name: "count", want: position, sign: headerByte(41, next)},
		{name: "no steps", want: format, sign: headerByte(41, set(0))},
		{name: "number of entries", want: payload, sign: headerByte(43, next)},
		{name: "manifest too long", want: format, sign: manifest(func(m string) string { return m + "AAAA" })},
		{name: "manifest too short", want: format, sign: manifest(func(m string) string { return m[:len(m)-4] })},
		{name: "manifest with a line break", want: format, sign: manifest(func(m string) string { return m + "\n" })},
		{name: "manifest padded", want: format, sign: manifest(func(m string) string { return m + "=" })},
		{name: "manifest in base64 of another alphabet", want: format, sign: manifest(func(m string) string {
			return m[:20] + "+/" + m[22:]
		})},
		{name: "manifest with stray bits", want: format, sign: manifest(strayBits)},
		{name: "manifest empty", want: format, sign: manifest(func(string) string { return "" })},
		{name: "a reason beside evidence", want: format, sign: manifest(func(string) string { return "none:too-long" })},
	}
	for _, name := range carrierNames() {
		attacks = append(attacks, attack{
			name: "with or without " + name, want: format, sign: carriers(func(c map[string]string) {
				if _, ok := c[name]; ok {
					delete(c, name)
				} else {
					c[name] = "AAAA"
				}
			}),
		})
	}
	return append(attacks, attack{
		name: "token of a reserved name but another type", want: failed(verify.CheckReserved),
		sign: func(r *verifytest.Run) {
			r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.StepResult(signing.CarrierCertificate, "x"))
		},
	})
}

// carriers changes the signing material of the first step.
func carriers(change func(map[string]string)) func(*verifytest.Run) {
	return func(r *verifytest.Run) { r.Steps[0].Carriers = change }
}

// strayBits sets a bit of the last character that base64 does not use.
func strayBits(m string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, m[len(m)-1])
	return m[:len(m)-1] + string(alphabet[last|1])
}

// signsOther returns the attack in which the step signs something else than it emitted.
func signsOther(name string, want Want, change func(*signing.Unit)) attack {
	return attack{name: name, want: want, sign: func(r *verifytest.Run) { r.Steps[0].Change = change }}
}

// unitAttacks are correctly signed evidence of another TaskRun, step or pod.
func unitAttacks() []attack {
	payload := failed(verify.CheckPayload)
	attacks := []attack{
		signsOther("signed for another namespace", payload, func(u *signing.Unit) { u.Namespace = "prod" }),
		signsOther("signed for another TaskRun's name", payload, func(u *signing.Unit) { u.TaskRun = "release" }),
		signsOther("signed for another pod's name", payload, func(u *signing.Unit) { u.Pod = "other" }),
		signsOther("signed for another container", payload, func(u *signing.Unit) { u.Container = "step-publish" }),
		signsOther("signed for another exit code", payload, func(u *signing.Unit) { u.ExitCode = 1 }),
		signsOther("signed for another TaskRun", failed(verify.CheckTaskRunUID),
			func(u *signing.Unit) { u.Header.TaskRunUID[5]++ }),
		signsOther("signed in another pod", failed(verify.CheckPod), func(u *signing.Unit) { u.Header.PodUID[5]++ }),
		signsOther("signed as another step", failed(verify.CheckPosition), func(u *signing.Unit) {
			u.Header.Index, u.Header.Flags = 1, signing.FlagLast
		}),
		signsOther("signed among more steps", failed(verify.CheckPosition), func(u *signing.Unit) { u.Header.Count = 3 }),
		signsOther("signed as a failing step", failed(verify.CheckSucceeded),
			func(u *signing.Unit) { u.Header.Flags |= signing.FlagStepFails }),
		signsOther("signed with an entry miscounted", payload, func(u *signing.Unit) { u.Header.Entries++ }),
	}
	for _, kind := range []result.ResultType{result.TaskRunResultType, result.StepResultType} {
		attacks = append(attacks, signsOther(fmt.Sprintf("signed without an entry of type %d", kind), payload,
			func(u *signing.Unit) {
				for i, e := range u.Entries {
					if e.Kind == kind {
						u.Entries = append(u.Entries[:i:i], u.Entries[i+1:]...)
						return
					}
				}
			}))
	}
	return attacks
}
