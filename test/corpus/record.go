// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"encoding/base64"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	addon "github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// recordCase is a TaskRun with a record of the add-on, and the changes of both.
type recordCase struct {
	sign   func(*verifytest.Run)
	record verifytest.Recording
	tamper func(*v1.TaskRun)
	want   Want
	scan   bool // a step has a result
}

// records makes the cases for the add-on's record.
func (m *maker) records() {
	for _, group := range []struct {
		name  string
		cases map[string]recordCase
	}{
		{"untouched", honestRecords()}, {"TaskRun changed", changedAfterRecord()}, {"record changed", m.forgedRecords()},
		{"without messages", recordedArchives()},
	} {
		for name, c := range sorted(group.cases) {
			m.record("record/"+group.name+"/"+name, c)
		}
	}
}

func (m *maker) record(name string, c recordCase) {
	tr := m.recorded(c)
	if m.err != nil {
		return
	}
	if c.tamper != nil {
		c.tamper(tr)
	}
	m.add(name, m.text(tr), c.want)
	m.cases[len(m.cases)-1].Plain = true
}

// recorded returns the TaskRun of a case as the API server serves it after the add-on recorded it.
func (m *maker) recorded(c recordCase) *v1.TaskRun {
	r := m.newRun()
	if c.record.Live || c.scan {
		m.withScan(r)
	}
	if c.sign != nil {
		c.sign(r)
	}
	tr := m.sign(r)
	if m.err == nil {
		m.err = m.cluster.Record(tr, c.record)
	}
	return tr
}

func found(verdict verify.Verdict) verifytest.Recording {
	return verifytest.Recording{Result: func(r *verify.Result) { r.Verdict = verdict }}
}

// bySPIRE makes the steps sign with SVIDs.
func bySPIRE(r *verifytest.Run) { r.Scheme = signing.SchemeSPIRE }

// withPromotion promotes a step result. Only the declaration shows which one.
func withPromotion(r *verifytest.Run) {
	r.Spec.Results = append(r.Spec.Results, v1.TaskResult{
		Name: "SCAN", Type: v1.ResultsTypeString, Value: v1.NewStructuredValues("$(steps.build.results.scan)"),
	})
}

func honestRecords() map[string]recordCase {
	return map[string]recordCase{
		"payload": {want: verified()},
		"svid":    {sign: bySPIRE, want: verified()},
		"key":     {sign: func(r *verifytest.Run) { r.Scheme = signing.SchemeOIDCKeyBound }, want: verified()},
		"v1": {
			sign: func(r *verifytest.Run) {
				r.Format, r.Scheme = signing.FormatV1, signing.SchemeOIDCKeyBound
				onlyTaskResults(r)
			}, want: verified(),
		},
		"promotion, declaration recorded": {
			sign: withPromotion, record: verifytest.Recording{Live: true}, want: verified(),
		},
		"promotion, declaration not recorded": {scan: true, sign: withPromotion, want: missing(verify.CheckDeclaration)},
		"fixed audience": {
			sign: func(r *verifytest.Run) { r.Scheme = signing.SchemeOIDCAudienceOnly }, want: missing(verify.CheckAssurance),
		},
		"found INDETERMINATE": {record: found(verify.Indeterminate), want: missing(verify.CheckRecord)},
	}
}

// changedAfterRecord changes what only the record vouches for, and what the evidence vouches for as well.
func changedAfterRecord() map[string]recordCase {
	changed := failed(verify.CheckRecord)
	status := func(change func(*v1.TaskRunStatus)) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) { change(&tr.Status) }
	}
	later := metav1.NewTime(verifytest.Start().Add(2 * time.Second))
	return map[string]recordCase{
		"start":         {want: changed, tamper: status(func(s *v1.TaskRunStatus) { s.StartTime = &later })},
		"creation":      {want: changed, tamper: func(tr *v1.TaskRun) { tr.CreationTimestamp = later }},
		"no completion": {want: changed, tamper: status(func(s *v1.TaskRunStatus) { s.CompletionTime = nil })},
		"reason": {
			want: changed, tamper: status(func(s *v1.TaskRunStatus) { s.Conditions[0].Reason = "Completed" }),
		},
		"declared type": {want: changed, tamper: status(func(s *v1.TaskRunStatus) { s.TaskSpec.Results[0].Type = "" })},
		"declaration added": {
			want: changed,
			tamper: status(func(s *v1.TaskRunStatus) {
				s.TaskSpec.Results = append(s.TaskSpec.Results, v1.TaskResult{Name: "x"})
			}),
		},
		"declaration gone": {want: changed, tamper: status(func(s *v1.TaskRunStatus) { s.TaskSpec = nil })},
		"step's reason": {
			want: changed, tamper: status(func(s *v1.TaskRunStatus) { s.Steps[0].Terminated.Reason = "Error" }),
		},
		"result": {
			want: changed, tamper: status(func(s *v1.TaskRunStatus) { s.Results[0].Value.StringVal = "x" }),
		},
		"messages": {
			want: changed, tamper: status(func(s *v1.TaskRunStatus) { s.Steps[1].Terminated.Message = "" }),
		},
		"promotion": {sign: withPromotion, record: verifytest.Recording{Live: true}, want: changed,
			tamper: status(func(s *v1.TaskRunStatus) {
				s.TaskSpec.Results[3].Value.StringVal = "$(steps.publish.results.scan)"
			})},
		"condition of the add-on": {
			want: verified(), tamper: func(tr *v1.TaskRun) { setCondition(tr, verify.ConditionType, "False", "Forged") },
		},
		"record removed": {
			want: missing(verify.CheckRecord), tamper: status(func(s *v1.TaskRunStatus) { s.Annotations = nil }),
		},
	}
}

// forgedRecords returns records of an attacker who can write the status, and can request tokens of other
// accounts.
func (m *maker) forgedRecords() map[string]recordCase {
	bad := failed(verify.CheckRecord)
	cases := map[string]recordCase{}
	claims := func(name string, change func(map[string]any)) {
		cases[name] = recordCase{record: verifytest.Recording{Claims: change}, want: bad}
	}
	text := func(name string, change func(string) string) {
		cases[name] = recordCase{record: verifytest.Recording{Text: change}, want: bad}
	}
	of := func(name string, change func(*addon.Record)) {
		cases[name] = recordCase{record: verifytest.Recording{Record: change}, want: bad}
	}
	const otherUID = "11111111-2222-4333-8444-555555555555"
	issued := verifytest.RecordedAt().Unix()
	claims("by an account of the namespace", func(c map[string]any) {
		c["sub"] = "system:serviceaccount:ci:builder"
		c["kubernetes.io"] = map[string]any{"namespace": "ci", "serviceaccount": map[string]any{"name": "builder"}}
	})
	claims("by an account in the add-on's name", func(c map[string]any) {
		c["kubernetes.io"] = map[string]any{"namespace": "ci", "serviceaccount": map[string]any{"name": "builder"}}
	})
	claims("of another issuer", func(c map[string]any) { c["iss"] = "https://issuer.example" })
	claims("with two audiences", func(c map[string]any) { c["aud"] = append(c["aud"].([]string), "x") })
	claims("with the fixed audience", func(c map[string]any) { c["aud"] = []string{signing.AudiencePrefix} })
	claims("valid for a day", func(c map[string]any) { c["exp"] = issued + 86400 })
	claims("from before the end", func(c map[string]any) { c["iat"], c["nbf"], c["exp"] = issued-600, issued-600, issued })
	cases["with a credential"] = recordCase{want: failed(verify.CheckCredentialLeak), record: verifytest.Recording{
		Claims: func(c map[string]any) { c["aud"] = []string{verifytest.Issuer} },
	}}
	text("empty", func(string) string { return "" })
	text("of another version", func(v string) string { return "v2" + v[2:] })
	text("without proof", func(v string) string { return v[:strings.IndexByte(v[3:], '.')+3] })
	text("cut short", func(v string) string { return v[:len(v)-8] })
	text("oversize", func(v string) string { return v + strings.Repeat("A", addon.MaxBytes) })
	text("twice", func(v string) string { return v + v })
	text("with a line break", func(v string) string { return v + "\n" })
	for name, change := range map[string][2]string{
		"with a key twice":         {`"attempt":0`, `"attempt":0,"attempt":0`},
		"with a key in capitals":   {`"attempt":0`, `"Attempt":0`},
		"with a key more":          {`"attempt":0`, `"attempt":0,"attempts":0`},
		"with white space":         {`"attempt":0`, `"attempt": 0`},
		"with another verdict":     {`"verdict":"VERIFIED"`, `"verdict":"FAILED"`},
		"with another number":      {`"attempt":0`, `"attempt":0.0`},
		"with two subjects":        {`"subject":[`, `"subject":[{"digest":{"sha256":""},"name":"taskrun"},`},
		"with another subject":     {`"name":"taskrun"`, `"name":"unit"`},
		"with nesting without end": {`"attempt":0`, `"attempt":` + strings.Repeat("[", 10000)},
	} {
		text(name, func(v string) string { return inStatement(v, change[0], change[1]) })
	}
	of("of another cluster", func(r *addon.Record) { r.Predicate.Cluster = otherUID })
	of("of another pod", func(r *addon.Record) { r.Predicate.PodUID = otherUID })
	of("of another attempt", func(r *addon.Record) { r.Predicate.Attempt = 1 })
	of("of an older state", func(r *addon.Record) { r.TaskRun = strings.Repeat("00", 32) })
	cases["found FAILED"] = recordCase{record: found(verify.Failed), want: bad}
	cases["found UNSIGNED"] = recordCase{record: found(verify.Unsigned), want: bad}
	cases["found what nobody knows"] = recordCase{record: found("GOOD"), want: bad}
	cases["of another TaskRun"] = recordCase{want: bad, tamper: func(tr *v1.TaskRun) {
		other := m.recorded(recordCase{sign: func(r *verifytest.Run) { r.UID = otherUID }})
		tr.Status.Annotations = other.Status.Annotations
	}}
	if foreign, err := verifytest.NewECCluster(); err != nil {
		m.err = err
	} else {
		// With a warning.
		cases["of another cluster's issuer"] = recordCase{record: verifytest.Recording{Signer: foreign},
			want: missing(verify.CheckRecord)}
		impostor := *foreign
		impostor.KeyID = m.cluster.KeyID
		cases["of a key with a known ID"] = recordCase{record: verifytest.Recording{Signer: &impostor}, want: bad}
	}
	cases["VERIFIED of an unsigned one"] = recordCase{
		sign:   func(r *verifytest.Run) { r.Steps[0].Bare, r.Steps[1].Bare = true, true },
		record: found(verify.Verified), want: unsigned(),
	}
	cases["VERIFIED of a bad one"] = recordCase{
		sign:   func(r *verifytest.Run) { r.Steps[0].Change = func(u *signing.Unit) { u.ExitCode = 1 } },
		record: found(verify.Verified), want: failed(verify.CheckPayload),
	}
	return cases
}

// inStatement changes R and keeps the proof.
func inStatement(value, old, to string) string {
	encoded, proof, _ := strings.Cut(strings.TrimPrefix(value, "v1."), ".")
	statement, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || !strings.Contains(string(statement), old) {
		return value
	}
	changed := strings.Replace(string(statement), old, to, 1)
	return "v1." + base64.RawURLEncoding.EncodeToString([]byte(changed)) + "." + proof
}

// recordedArchives returns archives without the evidence.
func recordedArchives() map[string]recordCase {
	drop := func(more func(*v1.TaskRun)) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			for i := range tr.Status.Steps {
				tr.Status.Steps[i].Terminated.Message = ""
			}
			if more != nil {
				more(tr)
			}
		}
	}
	return map[string]recordCase{
		"recorded":       {want: verified(), tamper: drop(nil)},
		"recorded, svid": {sign: bySPIRE, want: verified(), tamper: drop(nil)},
		"found INDETERMINATE": {
			record: found(verify.Indeterminate), want: missing(verify.CheckCoverage), tamper: drop(nil),
		},
		"found FAILED": {record: found(verify.Failed), want: failed(verify.CheckRecord), tamper: drop(nil)},
		"not recorded": {want: unsigned(), tamper: drop(func(tr *v1.TaskRun) { tr.Status.Annotations = nil })},
		"result changed": {
			want: failed(verify.CheckRecord), tamper: drop(func(tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal = "x" }),
		},
		"step result changed": {
			scan: true, want: failed(verify.CheckRecord),
			tamper: drop(func(tr *v1.TaskRun) { tr.Status.Steps[0].Results[0].Value.StringVal = "x" }),
		},
		"exit code changed": {
			want: failed(verify.CheckRecord), tamper: drop(func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 }),
		},
		"passed off as another": {
			want:   failed(verify.CheckRecord),
			tamper: drop(func(tr *v1.TaskRun) { tr.UID = "11111111-2222-4333-8444-555555555555" }),
		},
		"passed off as a retry": {
			want:   failed(verify.CheckRecord),
			tamper: drop(func(tr *v1.TaskRun) { tr.Status.RetriesStatus = []v1.TaskRunStatus{{}} }),
		},
		"result added": {want: failed(verify.CheckRecord), tamper: drop(func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results,
				v1.TaskRunResult{Name: "x", Type: "string", Value: *v1.NewStructuredValues("x")})
		})},
	}
}
