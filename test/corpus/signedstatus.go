// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"crypto/x509"
	"strings"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// statusCase is a TaskRun whose status is signed as a whole, and what is done to it then.
type statusCase struct {
	sign   verifytest.StatusSigning
	before func(*v1.TaskRun) // changes the TaskRun that is signed
	tamper func(*v1.TaskRun)
	want   Want
}

// otherTaskRun is the UID of a TaskRun of the same name.
const otherTaskRun = types.UID("11111111-2222-4333-8444-555555555555")

// signedStatuses makes the cases for a controller's signature over the status.
func (m *maker) signedStatuses() {
	for _, group := range []struct {
		name  string
		cases map[string]statusCase
	}{
		{"untouched", honestStatuses()}, {"status changed", changedStatuses()}, {"signature changed", m.forgedStatuses()},
		{"by another", m.foreignStatuses()}, {"Tekton's form", tektonStatuses()},
	} {
		for name, c := range sorted(group.cases) {
			m.signedStatus("signed status/"+group.name+"/"+name, c)
		}
	}
}

func (m *maker) signedStatus(name string, c statusCase) {
	tr := m.statusSigned(c)
	if m.err != nil {
		return
	}
	if c.tamper != nil {
		c.tamper(tr)
	}
	m.add(name, m.text(tr), c.want)
}

// statusSigned returns the TaskRun of a case as the API server serves it after it completed.
func (m *maker) statusSigned(c statusCase) *v1.TaskRun {
	r := m.newRun()
	bySPIRE(r)
	tr := m.sign(r)
	if m.err != nil {
		return tr
	}
	setCondition(tr, verify.ConditionType, "True", verify.ReasonVerified)
	if c.before != nil {
		c.before(tr)
	}
	m.err = m.cluster.SignStatus(tr, c.sign)
	return tr
}

// annotate sets an annotation of the status, or changes it.
func annotate(name string, change func(string) string) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) { tr.Status.Annotations[name] = change(tr.Status.Annotations[name]) }
}

func honestStatuses() map[string]statusCase {
	return map[string]statusCase{
		"signed":             {want: verified()},
		"by another account": {sign: verifytest.StatusSigning{Path: "/ns/tekton-sign/sa/controller"}, want: verified()},
		"signed late": {
			sign: verifytest.StatusSigning{At: verifytest.Start().Add(50 * time.Minute)}, want: verified(),
		},
		"not signed":           {want: verified(), tamper: func(tr *v1.TaskRun) { tr.Status.Annotations = nil }},
		"another annotation":   {want: verified(), tamper: annotate("example.com/x", func(string) string { return "x" })},
		"of a later version":   {want: verified(), tamper: annotate(signing.StatusHash, func(string) string { return "v3.x" })},
		"metadata's own":       {want: verified(), tamper: func(tr *v1.TaskRun) { tr.Annotations = map[string]string{"x": "y"} }},
		"a condition reported": {want: verified(), before: func(tr *v1.TaskRun) { setCondition(tr, "Custom", "True", "X") }},
	}
}

// changedStatuses changes what no step signs.
func changedStatuses() map[string]statusCase {
	changed := failed(verify.CheckStatusSignature)
	cases := map[string]statusCase{}
	for name, tamper := range map[string]func(*v1.TaskRunStatus){
		"condition flipped": func(s *v1.TaskRunStatus) { s.Conditions[0].Status = "False" },
		"reason":            func(s *v1.TaskRunStatus) { s.Conditions[0].Reason = "Completed" },
		"message":           func(s *v1.TaskRunStatus) { s.Conditions[0].Message = "x" },
		"condition added":   func(s *v1.TaskRunStatus) { s.Conditions = append(s.Conditions, s.Conditions[0]) },
		"verdict flipped":   func(s *v1.TaskRunStatus) { s.Conditions[1].Status = "False" },
		"verdict gone":      func(s *v1.TaskRunStatus) { s.Conditions = s.Conditions[:1] },
		"task":              func(s *v1.TaskRunStatus) { s.TaskSpec.Steps = append(s.TaskSpec.Steps, v1.Step{Name: "x"}) },
		"description":       func(s *v1.TaskRunStatus) { s.TaskSpec.Description = "x" },
		"provenance":        func(s *v1.TaskRunStatus) { s.Provenance = &v1.Provenance{RefSource: &v1.RefSource{URI: "x"}} },
		"a sidecar":         func(s *v1.TaskRunStatus) { s.Sidecars = append(s.Sidecars, v1.SidecarState{Name: "x"}) },
		"image of a step":   func(s *v1.TaskRunStatus) { s.Steps[0].ImageID = "x" },
		"completion": func(s *v1.TaskRunStatus) {
			later := metav1.NewTime(s.CompletionTime.Add(time.Second))
			s.CompletionTime = &later
		},
		"an attempt": func(s *v1.TaskRunStatus) { s.RetriesStatus = []v1.TaskRunStatus{{}} },
	} {
		cases[name] = statusCase{want: changed, tamper: func(tr *v1.TaskRun) { tamper(&tr.Status) }}
	}
	cases["of another TaskRun"] = statusCase{want: changed, before: func(tr *v1.TaskRun) { tr.UID = otherTaskRun },
		tamper: func(tr *v1.TaskRun) { tr.UID = verifytest.RunUID }}
	cases["of another name"] = statusCase{want: changed, before: func(tr *v1.TaskRun) { tr.Name = "other" },
		tamper: func(tr *v1.TaskRun) { tr.Name = "build" }}
	cases["of another namespace"] = statusCase{want: changed, before: func(tr *v1.TaskRun) { tr.Namespace = "prod" },
		tamper: func(tr *v1.TaskRun) { tr.Namespace = "ci" }}
	cases["of an older status"] = statusCase{want: changed,
		before: func(tr *v1.TaskRun) { tr.Status.Conditions[0].Reason = "Running" },
		tamper: func(tr *v1.TaskRun) { tr.Status.Conditions[0].Reason = "Succeeded" }}
	cases["noted as changed"] = statusCase{want: changed,
		tamper: annotate(signing.StatusNotVerified, func(string) string { return "no" })}
	cases["noted as changed, not signed"] = statusCase{want: changed, tamper: func(tr *v1.TaskRun) {
		tr.Status.Annotations = map[string]string{signing.StatusNotVerified: ""}
	}}
	return cases
}

// forgedStatuses changes the annotations.
func (m *maker) forgedStatuses() map[string]statusCase {
	bad := failed(verify.CheckStatusSignature)
	cases := map[string]statusCase{}
	for name, annotation := range map[string]string{
		"hash": signing.StatusHash, "signature": signing.StatusSignature, "SVID": signing.StatusCertificates,
	} {
		for what, change := range map[string]func(string) string{
			"gone":               nil,
			"empty":              func(string) string { return "" },
			"with trailing data": func(s string) string { return s + "x" },
			"with a line break":  func(s string) string { return s + "\n" },
			"with leading data":  func(s string) string { return " " + s },
			"twice":              func(s string) string { return s + s },
			"of megabytes":       func(s string) string { return s + strings.Repeat("A", 2<<20) },
			"cut short":          func(s string) string { return s[:len(s)-3] },
		} {
			tamper := func(tr *v1.TaskRun) { delete(tr.Status.Annotations, annotation) }
			if change != nil {
				tamper = annotate(annotation, change)
			}
			cases[name+" "+what] = statusCase{want: bad, tamper: tamper}
		}
	}
	hash := func(name string, change func(string) string) {
		cases[name] = statusCase{want: bad, tamper: annotate(signing.StatusHash, change)}
	}
	hash("made Tekton's form", func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] })
	hash("another time", func(s string) string { return strings.Replace(s, "12:01:00Z", "12:01:01Z", 1) })
	hash("time of another zone", func(s string) string { return strings.Replace(s, "Z.", "+00:00.", 1) })
	hash("hash in capitals", strings.ToUpper)
	svid := func(name string, change func(string) string) {
		cases[name] = statusCase{want: bad, tamper: annotate(signing.StatusCertificates, change)}
	}
	svid("SVID as another block", func(s string) string { return strings.ReplaceAll(s, "CERTIFICATE", "TRUSTED CERTIFICATE") })
	svid("SVID with text before", func(s string) string { return "x\n" + s })
	svid("SVID in Windows lines", func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") })
	cases["SVID cut to the leaf"] = statusCase{want: verified(), // nobody knows who issued it: a warning
		tamper: annotate(signing.StatusCertificates, firstBlock)}
	return cases
}

// firstBlock returns the first block of several in PEM.
func firstBlock(text string) string {
	const end = "-----END CERTIFICATE-----\n"
	return text[:strings.Index(text, end)+len(end)]
}

// foreignStatuses are signed by others than the add-on.
func (m *maker) foreignStatuses() map[string]statusCase {
	bad := failed(verify.CheckStatusSignature)
	issuedBy := func(domain string) *verifytest.CA {
		ca, err := verifytest.NewCA(domain)
		if err != nil && m.err == nil {
			m.err = err
		}
		return ca
	}
	key, err := verifytest.NewKey()
	if err != nil && m.err == nil {
		m.err = err
	}
	valid := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = verifytest.Start().Add(from), verifytest.Start().Add(to)
		}
	}
	cases := map[string]statusCase{}
	sign := func(name string, want Want, s verifytest.StatusSigning) {
		cases[name] = statusCase{want: want, sign: s}
	}
	for name, path := range map[string]string{
		"the TaskRun itself": "/ns/ci/taskrun/build", "a TaskRun called controller": "/ns/tekton-sign/taskrun/controller",
		"an account of the namespace": "/ns/ci/sa/controller", "a longer path": "/tekton-sign/controller/x",
		"a shorter path": "/tekton-sign", "Tekton's controller": "/tekton/controller", "SPIRE's agent": "/spire/agent/x",
	} {
		sign(name, bad, verifytest.StatusSigning{Path: path})
	}
	sign("another key", bad, verifytest.StatusSigning{Key: key})
	sign("another trust domain", bad, verifytest.StatusSigning{CA: issuedBy("other.example")})
	sign("another authority of our name", verified(), // a warning, as if the status were not signed
		verifytest.StatusSigning{CA: issuedBy(verifytest.TrustDomain)})
	sign("an authority", bad, verifytest.StatusSigning{Certificate: func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign
	}})
	sign("two names", bad, verifytest.StatusSigning{Certificate: func(c *x509.Certificate) {
		c.URIs = append(c.URIs, c.URIs[0])
	}})
	sign("an expired SVID", bad, verifytest.StatusSigning{Certificate: valid(-time.Hour, 30*time.Second)})
	sign("an SVID not valid yet", bad, verifytest.StatusSigning{Certificate: valid(90*time.Second, time.Hour)})
	return cases
}

// tektonStatuses are signed in the form of Tekton's own controller.
func tektonStatuses() map[string]statusCase {
	bad, tekton := failed(verify.CheckStatusSignature), verifytest.StatusSigning{Tekton: true}
	return map[string]statusCase{
		"by Tekton": {sign: tekton, want: verified()}, // a warning: the form has no intermediate certificates
		"result changed": {sign: tekton, want: bad, tamper: func(tr *v1.TaskRun) {
			tr.Status.TaskSpec.Description = "x"
		}},
		"by the add-on": {
			sign: verifytest.StatusSigning{Tekton: true, Path: "/tekton-sign/controller"}, want: bad,
		},
		"by the TaskRun": {sign: verifytest.StatusSigning{Tekton: true, Path: "/ns/ci/taskrun/build"}, want: bad},
		"made the add-on's": {sign: tekton, want: bad, tamper: annotate(signing.StatusHash, func(s string) string {
			return "v2.2025-06-02T12:01:00Z." + s
		})},
	}
}
