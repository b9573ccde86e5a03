// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"github.com/tektoncd/pipeline/pkg/result"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// hostile makes cases of files that an earlier version judged incorrectly, one for each kind of defect.
func (m *maker) hostile() {
	m.unrecorded()
	m.malleable()
	m.spellings()
	m.gaps()
	m.attempts()
	m.versions()
	m.wrongTypes()
	m.unions()
}

// runs adds a case of a run that is changed before it is signed, and after.
func (m *maker) runs(name string, want Want, sign func(*verifytest.Run), tamper func(*v1.TaskRun)) {
	m.apply("hostile", m.newRun(), m.sign, attack{name: name, want: want, sign: sign, tamper: tamper})
}

// unrecorded makes cases of evidence that only its own pod connects to the TaskRun.
func (m *maker) unrecorded() {
	for name, scheme := range sorted(map[string]signing.Scheme{
		"payload": signing.SchemeOIDCPayloadBound, "key": signing.SchemeOIDCKeyBound, "svid": signing.SchemeSPIRE,
	}) {
		for _, format := range []signing.Format{signing.FormatV1, signing.FormatV2} {
			if format == signing.FormatV1 && scheme == signing.SchemeOIDCPayloadBound {
				continue
			}
			m.runs(fmt.Sprintf("no record/%s %s", name, format), missing(verify.CheckRecord), func(r *verifytest.Run) {
				r.Scheme, r.Format = scheme, format
				if format == signing.FormatV1 {
					onlyTaskResults(r)
					m.issueFromRoot(r)
				}
			}, nil)
			m.cases[len(m.cases)-1].Plain = true
		}
	}
}

// malleable makes cases of signatures and keys whose text changes while they stay valid.
func (m *maker) malleable() {
	m.runs("signature copied as its twin", failed(verify.CheckSignature), func(r *verifytest.Run) {
		r.Scheme, r.Format = signing.SchemeOIDCKeyBound, signing.FormatV1
		onlyTaskResults(r)
		r.Steps[0].Entries = append(r.Steps[0].Entries, verifytest.TaskResult("ONE", "good"),
			verifytest.TaskResult("TWO", "good"))
		r.Steps[0].Carriers = func(c map[string]string) { c["TWO.sig"] = twin(c["ONE.sig"]) }
	}, nil)
}

// twin returns the other valid signature for the same value and key on P-256: (r, N-s).
func twin(signature string) string {
	raw, _ := base64.StdEncoding.DecodeString(signature)
	var pair struct{ R, S *big.Int }
	_, _ = asn1.Unmarshal(raw, &pair)
	pair.S = new(big.Int).Sub(elliptic.P256().Params().N, pair.S)
	raw, _ = asn1.Marshal(pair)
	return base64.StdEncoding.EncodeToString(raw)
}

// spellings makes cases of texts with the same hashed form.
func (m *maker) spellings() {
	for name, c := range sorted(map[string]struct {
		signed, shown string
		want          Want
	}{
		"as signed":   {`{"a":"2"}`, `{"a":"2"}`, verified()},
		"key twice":   {`{"a":"2"}`, `{"a":"evil","a":"2"}`, missing(verify.CheckPayload)},
		"null":        {`["","b"]`, `[null,"b"]`, missing(verify.CheckPayload)},
		"escapes":     {`["a"]`, `["\u0061"]`, missing(verify.CheckPayload)},
		"white space": {`["a"]`, `[ "a" ]`, missing(verify.CheckPayload)},
		"other order": {`{"a":"1","b":"2"}`, `{"b":"2","a":"1"}`, missing(verify.CheckPayload)},
	}) {
		r := m.newRun()
		r.Steps[0].Entries[0].Value = c.signed
		m.apply("hostile/spelling", r, m.signByLog, attack{name: name, want: c.want, tamper: setValue(c.shown)})
	}
}

// gaps makes cases that hide a step behind the condition Succeeded.
func (m *maker) gaps() {
	ended := func(reason, text string, exit int32) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			setCondition(tr, "Succeeded", "False", reason)
			tr.Status.Steps[1].ContainerState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: exit, Reason: reason, Message: text,
			}}
			tr.Status.Steps[1].Outputs, tr.Status.Artifacts = nil, nil
			tr.Status.Results = tr.Status.Results[:2]
		}
	}
	const tekton = "Step publish terminated as pod build-pod is terminated"
	message := failed(verify.CheckMessage)
	m.runs("gap/made-up reason", message, nil, ended("Whatever", "text", 99))
	m.runs("gap/made-up reason with Tekton's text", message, nil, ended("Whatever", tekton, 1))
	m.runs("gap/Tekton's reason with another text", message, nil, ended("TaskRunCancelled", "text", 1))
	m.runs("gap/Tekton's reason with another exit code", message, nil, ended("TaskRunCancelled", tekton, 0))
	m.runs("gap/a reason with which steps are not ended", message, nil, ended("StepFailed", tekton, 1))
	m.runs("gap/never ended, for a made-up reason", failed(verify.CheckCoverage), nil, func(tr *v1.TaskRun) {
		ended("Whatever", "", 0)(tr)
		tr.Status.Steps[1].Terminated = nil
	})
	m.runs("gap/container that did not start, for a made-up reason", message, nil, func(tr *v1.TaskRun) {
		ended("Whatever", "text", 128)(tr)
		tr.Status.Steps[1].Terminated.Reason = "StartError"
	})
	m.runs("gap/cancelled", verified(), nil, ended("TaskRunCancelled", tekton, 1))
}

// attempts makes cases of archived attempts that hide something, or that need much work.
func (m *maker) attempts() {
	archive := func(change func(*v1.TaskRunStatus)) func(*v1.TaskRun) {
		first := m.newRun()
		first.PodUID = "4db15e48-971f-4815-84b3-272e52f61a11"
		attempt := m.sign(first)
		if change != nil {
			change(&attempt.Status)
		}
		return func(tr *v1.TaskRun) { tr.Status.RetriesStatus = []v1.TaskRunStatus{attempt.Status} }
	}
	second := func(r *verifytest.Run) { r.Retries = 1 }
	m.runs("attempt/untouched", verified(), second, archive(nil))
	m.runs("attempt/edited, its messages removed", Want{Verdict: "*", Exit: 3}, second, archive(func(s *v1.TaskRunStatus) {
		s.Results[0].Value.StringVal = "evil"
		for i := range s.Steps {
			s.Steps[i].Terminated.Message, s.Steps[i].Outputs = "", nil
		}
	}))
	m.runs("attempt/stands for a run without results", Want{Verdict: "*", Exit: 3}, second, func(tr *v1.TaskRun) {
		archive(nil)(tr)
		s := &tr.Status
		s.Results, s.Artifacts, s.Steps, s.TaskSpec.Results, tr.Spec.TaskSpec.Results = nil, nil, nil, nil, nil
	})
	cancelled := func(s *v1.TaskRunStatus) {
		s.Conditions[0].Status, s.Conditions[0].Reason = "False", "TaskRunCancelled"
		s.Artifacts = &v1.Artifacts{Outputs: []v1.Artifact{{Name: "z"}}}
	}
	for name, c := range sorted(map[string]struct {
		n    int
		want Want
	}{"200 that lead to each other": {200, Want{Verdict: verify.Failed, Check: "", Exit: 4}},
		"1000 that lead to each other": {1000, missing(verify.CheckPod)}}) {
		m.apply("resources", m.newRun(), m.sign, attack{name: "attempts, " + name, want: c.want,
			tamper: func(tr *v1.TaskRun) {
				cancelled(&tr.Status)
				for range c.n {
					tr.Status.RetriesStatus = append(tr.Status.RetriesStatus, *tr.Status.DeepCopy())
					tr.Status.RetriesStatus[len(tr.Status.RetriesStatus)-1].RetriesStatus = nil
				}
			}})
	}
	m.apply("resources", m.newRun(), m.sign, attack{name: "15000 artifacts of one name",
		want: failed(verify.CheckArtifacts), tamper: func(tr *v1.TaskRun) {
			tr.Status.Artifacts = &v1.Artifacts{Outputs: make([]v1.Artifact, 15000)}
		}})
}

// asV1beta1 returns the TaskRun as Tekton serves it to clients of version v1beta1.
func (m *maker) asV1beta1(tr *v1.TaskRun) any {
	old := &v1beta1.TaskRun{}
	if err := old.ConvertFrom(context.Background(), tr); err != nil {
		m.err = err
	}
	old.APIVersion, old.Kind = "tekton.dev/v1beta1", "TaskRun"
	return old
}

// edited adds a case of a TaskRun whose JSON was edited.
func (m *maker) edited(name string, want Want, tr any, pairs ...string) {
	text := strings.NewReplacer(pairs...).Replace(string(m.text(tr)))
	m.add("hostile/"+name, []byte(text), want)
}

// versions makes cases of files with the fields of another API version.
func (m *maker) versions() {
	tr := m.sign(m.newRun())
	if m.err != nil {
		return
	}
	const evil = `[{"name":"IMAGE_DIGEST","type":"string","value":"evil"}]`
	m.edited("version/taskResults in v1", unreadable(), tr, `"status":{`, `"status":{"taskResults":`+evil+`,`)
	plain := m.newRun()
	plain.Steps[1].Entries = plain.Steps[1].Entries[:1]
	old := m.asV1beta1(m.sign(plain))
	m.edited("version/v1beta1", verified(), old)
	m.edited("version/results in v1beta1", unreadable(), old, `"status":{`, `"status":{"results":`+evil+`,`)
	for name, kind := range sorted(map[string]result.ResultType{"a step's": result.StepArtifactsResultType,
		"the task's": result.TaskRunArtifactsResultType}) {
		r := m.newRun()
		r.Steps[1].Entries = append(r.Steps[1].Entries[:1], result.RunResult{
			Key: "/tekton/artifacts/provenance.json", ResultType: kind,
			Value: `{"outputs":[{"name":"a","values":[{"uri":"b"}]}]}`,
		})
		m.edited("version/v1beta1 without artifacts, "+name, unreadable(), m.asV1beta1(m.sign(r)))
	}
	many := m.newRun()
	many.Steps, many.Spec.Steps = nil, nil
	for i := range 120 {
		many.Steps = append(many.Steps, verifytest.Step{Name: fmt.Sprint("s", i)})
		many.Spec.Steps = append(many.Spec.Steps, v1.Step{Name: fmt.Sprint("s", i), Image: "busybox"})
	}
	m.edited("version/a later field in each of 120 steps", verified(), m.sign(many), `"container":"step-`,
		`"fieldOfTekton2":"x","another":{"a":[1]},"container":"step-`)
}

// wrongTypes makes cases of values in forms that Tekton does not write.
func (m *maker) wrongTypes() {
	run := m.newRun()
	run.Steps[0].Entries[0].Value = `{"a":1}`
	tr := m.sign(run)
	m.edited("said wrongly/a string as an object", unreadable(), tr, `"value":"{\"a\":1}"`, `"value":{"a":1}`)
	run = m.newRun()
	run.Steps[0].Entries[0].Value = ""
	m.edited("said wrongly/an empty string as null", unreadable(), m.sign(run), `"value":""`, `"value":null`)
	run = m.newRun()
	run.Steps[0].Entries[0].Value = "1"
	m.edited("said wrongly/a string as a number", unreadable(), m.sign(run), `"type":"string","value":"1"`,
		`"type":"string","value":1`)
	m.runs("said wrongly/two states", failed(verify.CheckMessage), nil, func(tr *v1.TaskRun) {
		tr.Status.Steps[1].Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(verifytest.Start())}
	})
	promoting := func(r *verifytest.Run) { m.withScan(r); withPromotion(r) }
	m.runs("promotion/as declared", missing(verify.CheckDeclaration), promoting, nil)
	m.runs("promotion/removed with its declaration", missing(verify.CheckDeclaration), promoting, func(tr *v1.TaskRun) {
		tr.Status.Results = slices.DeleteFunc(tr.Status.Results, func(r v1.TaskRunResult) bool { return r.Name == "SCAN" })
		tr.Status.TaskSpec.Results, tr.Spec.TaskSpec.Results = tr.Status.TaskSpec.Results[:3], tr.Spec.TaskSpec.Results[:3]
		tr.Status.TaskSpec.Steps[0].Results, tr.Spec.TaskSpec.Steps[0].Results = nil, nil
	})
	asYAML, err := yaml.JSONToYAML(m.text(m.sign(m.newRun())))
	if err != nil {
		m.err = err
		return
	}
	text := string(asYAML)
	object := strings.Replace(text, "      commit: ", "      1: evil\n      \"1\": a\n      commit: ", 1)
	m.add("hostile/YAML/a key as text and as a number", []byte(object), unreadable())
	m.add("hostile/YAML/a key as text and as a boolean",
		[]byte(strings.NewReplacer("1: evil", "on: evil", `"1": a`, `"true": a`).Replace(object)), unreadable())
	m.add("hostile/YAML/with its version", []byte("%YAML 1.2\n---\n"+text), verified())
	m.add("resources/YAML of directives", []byte(strings.Repeat("%TAG !a! tag:x\n", 200_000)+"---\n"+text),
		unreadableBesideVerified())
}

// unions makes cases of trust bundles in which something occurs twice, or in another form.
func (m *maker) unions() {
	file := m.text(m.sign(m.newRun()))
	bundle := func(name string, want Want, data []byte) {
		m.cases = append(m.cases, Case{Name: "hostile/bundle/" + name, File: file, Bundle: data, Want: want})
	}
	trusted, err := m.cluster.Trust()
	if err != nil {
		m.err = err
		return
	}
	issuer, _ := json.Marshal(trusted.ServiceAccountIssuers[0])
	var compact bytes.Buffer
	_ = json.Compact(&compact, m.bundle)
	twice := bytes.Replace(compact.Bytes(), issuer, append(append(bytes.Clone(issuer), ','), issuer...), 1)
	bundle("an issuer twice", unreadable(), twice)
	bundle("with a byte order mark", verified(), append([]byte("\xef\xbb\xbf"), m.bundle...))
	bundle("in UTF-16", unreadable(), append([]byte("\xff\xfe"),
		bytes.Join(bytes.SplitAfter(m.bundle, nil), []byte{0})...))
	with := func(member string) []byte {
		return bytes.Replace(m.bundle, []byte(`"kid":`), []byte(member+`,"kid":`), 1)
	}
	bundle("a key with all that a JWKS has", verified(), with(`"use":"sig","key_ops":["verify"],"x5c":["MIIB"],"x5t":"a"`))
	bundle("a key for encryption", unreadable(), with(`"use":"enc"`))
	bundle("a key with a private member", unreadable(), with(`"p":"AQAB"`))
}
