// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

var update = flag.Bool("update", false, "write the golden files")

const clusterUID = "0b6b7e2c-53d6-4f43-9b0e-1f6d8f2a7c11"

func testTaskRun(t *testing.T) *v1.TaskRun {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "taskrun.json"))
	if err != nil {
		t.Fatal(err)
	}
	tr := &v1.TaskRun{}
	if err := json.Unmarshal(data, tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

func testPredicate() Predicate {
	return Predicate{
		Cluster: clusterUID, PodUID: "3db15e48-971f-4815-84b3-272e52f61a10", Verdict: "VERIFIED",
		Checks:  []Check{{"coverage", "pass"}, {"declaration", "pass"}},
		Backend: "oidc-sa-token", Assurance: "payload-bound",
		Units:      []Unit{{Container: "step-build", Payload: "AQ", Digest: strings.Repeat("ab", 32)}},
		Keys:       []string{"key-1"},
		VerifiedAt: time.Date(2026, 11, 22, 13, 1, 1, 500, time.FixedZone("", 3600)), AddOnVersion: "v0.4.0",
	}
}

// testReceiptPredicate is of a record v2: a step left evidence, a receipt covers the TaskRun, and an attempt has one.
func testReceiptPredicate() Predicate {
	p := testPredicate()
	p.Backend, p.Assurance, p.Basis = "receipt", "receipt", BasisBoth
	p.Receipt = &Receipt{
		Node: "node-1", RuntimeClass: "gvisor", Phase: "Succeeded", Log: MessageDigest("{}\n"),
		Created: time.Date(2026, 11, 22, 12, 0, 1, 0, time.UTC),
		Steps: []Step{{
			Container: "step-build", Reason: "Completed", ImageID: "registry.example/busybox@sha256:0000",
			Message: MessageDigest("[]"),
		}},
	}
	p.Attempts = []Attempt{{TaskRun: strings.Repeat("cd", 32), WithoutMessages: strings.Repeat("ef", 32)}}
	return p
}

func testStatement(t *testing.T) []byte { t.Helper(); return statementOf(t, testPredicate()) }

func statementOf(t *testing.T, p Predicate) []byte {
	t.Helper()
	r, err := New(testTaskRun(t), p)
	if err != nil {
		t.Fatal(err)
	}
	statement, err := r.Statement()
	if err != nil {
		t.Fatal(err)
	}
	return statement
}

func TestEncodeAndDecode(t *testing.T) {
	statement := testStatement(t)
	text, err := Encode(statement, "a.b.c")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	want, err := New(testTaskRun(t), testPredicate())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Encoded{Record: want, Statement: statement, Token: "a.b.c"}, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if _, err := Encode(statement, strings.Repeat("a", MaxBytes)); err == nil {
		t.Error("expected an error for a record that is too long, got none")
	}
}

func TestDecodeRefuses(t *testing.T) {
	statement := string(testStatement(t))
	encode := func(statement string) string {
		return "v1." + base64.RawURLEncoding.EncodeToString([]byte(statement)) + ".a.b.c"
	}
	if _, err := Decode(encode(statement)); err != nil {
		t.Fatal(err)
	}
	change := func(old, to string) string {
		t.Helper()
		changed := strings.Replace(statement, old, to, 1)
		if changed == statement {
			t.Fatalf("expected %q in the statement", old)
		}
		return encode(changed)
	}
	for name, test := range map[string]struct{ text, want string }{
		"nothing":            {"", "expected a record of the form"},
		"another version":    {"v2." + encode(statement)[3:], "expected a record of the form"},
		"no proof":           {strings.TrimSuffix(encode(statement), ".a.b.c"), "expected a record of the form"},
		"an empty proof":     {strings.TrimSuffix(encode(statement), "a.b.c"), "expected a record of the form"},
		"padded base64":      {strings.Replace(encode(statement), ".a.b.c", "=.a.b.c", 1), "decoding"},
		"too long":           {encode(statement) + strings.Repeat("a", MaxBytes), "at most"},
		"no JSON":            {encode("{"), "reading"},
		"a space":            {change(`{"_type"`, `{ "_type"`), "RFC 8785"},
		"two equal keys":     {change(`"attempt":0`, `"attempt":0,"attempt":0`), "reading"},
		"an unknown member":  {change(`"attempt":0`, `"attempt":0,"b":0`), "unknown field"},
		"a missing member":   {change(`"attempt":0,`, ``), "RFC 8785"},
		"another case":       {change(`"attempt":0`, `"Attempt":0`), "reading"},
		"a negative attempt": {change(`"attempt":0`, `"attempt":-1`), "attempt"},
		"null for a list":    {change(`"keys":["key-1"]`, `"keys":null`), "null"},
		"another type":       {change(signing.StatementType, "https://in-toto.io/Statement/v0"), "expected a statement"},
		"another predicate":  {change(PredicateType, signing.PredicateType), "expected a statement"},
		"another subject":    {change(`"name":"taskrun"`, `"name":"unit"`), "one subject"},
		"two subjects":       {change(`"subject":[`, `"subject":[{"digest":{"sha256":""},"name":"taskrun"},`), "one subject"},
		"a short digest":     {change(strings.Repeat("ab", 32), "abab"), "SHA-256"},
		"an upper digest":    {change(strings.Repeat("ab", 32), strings.Repeat("AB", 32)), "SHA-256"},
		"no cluster":         {change(clusterUID, "prod"), "cluster"},
		"another time zone":  {change("12:01:01Z", "13:01:01+01:00"), "UTC"},
		"parts of a second":  {change("12:01:01Z", "12:01:01.5Z"), "UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("expected an error with %q, got %v", test.want, err)
			}
		})
	}
}

// Every change of what a verdict depends on changes the digest, and names the members that changed.
func TestSubjectCoversWhatAVerdictRestsOn(t *testing.T) {
	before, err := describe(testTaskRun(t))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := Project(testTaskRun(t)); err != nil || !p.HasMessages() || p.WithoutMessages().HasMessages() ||
		!p.HasMessages() {
		t.Errorf("expected messages that can be left out, got %v", err)
	}
	later := metav1.NewTime(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
	for name, test := range map[string]struct {
		change func(*v1.TaskRun)
		fields []string // that change; empty if only the messages do
	}{
		"namespace":       {func(tr *v1.TaskRun) { tr.Namespace = "other" }, []string{"namespace"}},
		"name":            {func(tr *v1.TaskRun) { tr.Name = "other" }, []string{"name"}},
		"uid":             {func(tr *v1.TaskRun) { tr.UID = "other" }, []string{"uid"}},
		"creation":        {func(tr *v1.TaskRun) { tr.CreationTimestamp = later }, []string{"creationTimestamp"}},
		"service account": {func(tr *v1.TaskRun) { tr.Spec.ServiceAccountName = "" }, []string{"serviceAccountName"}},
		"pod":             {func(tr *v1.TaskRun) { tr.Status.PodName = "x" }, []string{"podName"}},
		"start":           {func(tr *v1.TaskRun) { tr.Status.StartTime = nil }, []string{"startTime"}},
		"completion":      {func(tr *v1.TaskRun) { tr.Status.CompletionTime = &later }, []string{"completionTime"}},
		"succeeded": {
			func(tr *v1.TaskRun) { tr.Status.Conditions[0].Status = corev1.ConditionFalse }, []string{"succeeded"},
		},
		"reason":          {func(tr *v1.TaskRun) { tr.Status.Conditions[0].Reason = "x" }, []string{"succeeded"}},
		"a declared type": {func(tr *v1.TaskRun) { tr.Status.TaskSpec.Results[0].Type = "array" }, []string{"declared"}},
		"a promotion": {
			func(tr *v1.TaskRun) {
				tr.Status.TaskSpec.Results[3].Value.StringVal = "$(steps.x.results.scan)"
			}, []string{"declared"},
		},
		"a declared step": {func(tr *v1.TaskRun) { tr.Status.TaskSpec.Steps[0].Results = nil }, []string{"declaredSteps"}},
		"a value":         {func(tr *v1.TaskRun) { tr.Status.Results[0].Value.ArrayVal[0] = "v2" }, []string{"results"}},
		"a result less":   {func(tr *v1.TaskRun) { tr.Status.Results = tr.Status.Results[1:] }, []string{"results"}},
		"an object for a string": {func(tr *v1.TaskRun) {
			tr.Status.Results[2].Value = v1.ParamValue{Type: v1.ParamTypeString, StringVal: `{"commit":"8f3c1d2"}`}
		}, []string{"results"}},
		"a step result": {func(tr *v1.TaskRun) { tr.Status.Steps[0].Results[0].Value.StringVal = "x" }, []string{"steps"}},
		"an exit code":  {func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.ExitCode = 1 }, []string{"steps"}},
		"a container":   {func(tr *v1.TaskRun) { tr.Status.Steps[0].Container = "x" }, []string{"steps"}},
		"a message":     {func(tr *v1.TaskRun) { tr.Status.Steps[0].Terminated.Message = "" }, nil},
		"an artifact": {
			func(tr *v1.TaskRun) { tr.Status.Artifacts.Outputs[0].Values[0].Digest["sha256"] = "bb" }, []string{"artifacts"},
		},
		"no artifacts": {func(tr *v1.TaskRun) { tr.Status.Artifacts = nil }, []string{"artifacts"}},
		"two at once": {func(tr *v1.TaskRun) {
			tr.Status.PodName, tr.Name = "x", "y"
		}, []string{"name", "podName"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := testTaskRun(t)
			test.change(tr)
			after, err := describe(tr)
			if err != nil {
				t.Fatal(err)
			}
			if after.digest == before.digest {
				t.Error("expected another digest, got the same")
			}
			if same := after.withoutMessages == before.withoutMessages; same != (len(test.fields) == 0) {
				t.Errorf("without messages: expected the same digest %v, got %v", len(test.fields) == 0, same)
			}
			var changed []string
			for field, sum := range after.fields {
				if before.fields[field] != sum {
					changed = append(changed, field)
				}
			}
			if len(changed) != len(test.fields) || len(test.fields) == 1 && changed[0] != test.fields[0] {
				t.Errorf("expected the changed members %v, got %v", test.fields, changed)
			}
		})
	}
}

// What other writers may change after completion does not change the digest, nor does the order of results.
func TestSubjectLeavesOutTheRest(t *testing.T) {
	before, err := describe(testTaskRun(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*v1.TaskRun){
		"our condition": func(tr *v1.TaskRun) {
			tr.Status.Conditions = append(tr.Status.Conditions, tr.Status.Conditions[0])
			tr.Status.Conditions[1].Type = "SignedResultsVerified"
		},
		"the record": func(tr *v1.TaskRun) { tr.Status.Annotations = map[string]string{Annotation: "v1."} },
		"labels":     func(tr *v1.TaskRun) { tr.Labels = map[string]string{"a": "b"} },
		"signing material": func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results[:3:3], tr.Status.Results[4])
		},
		"the order": func(tr *v1.TaskRun) { r := tr.Status.Results; r[0], r[4] = r[4], r[0] },
		"a time in its zone": func(tr *v1.TaskRun) {
			tr.Status.StartTime.Time = tr.Status.StartTime.In(time.FixedZone("", 7200))
		},
		"empty and not absent": func(tr *v1.TaskRun) { tr.Status.Artifacts.Inputs = []v1.Artifact{} },
	} {
		t.Run(name, func(t *testing.T) {
			tr := testTaskRun(t)
			change(tr)
			after, err := describe(tr)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, after, cmp.AllowUnexported(description{})); diff != "" {
				t.Errorf("subject (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSubjectIsCapped(t *testing.T) {
	tr := testTaskRun(t)
	object := map[string]string{}
	for i := range maxMembers + 1 {
		object[fmt.Sprint(i)] = ""
	}
	tr.Status.Results[2].Value.ObjectVal = object
	if _, err := describe(tr); err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxMembers+1)) {
		t.Errorf("expected an error that names the number of members, got %v", err)
	}
}

func TestLongPayloadsAreLeftOut(t *testing.T) {
	p := testPredicate()
	p.Units[0].Payload = strings.Repeat("A", maxPayloads+1)
	r, err := New(testTaskRun(t), p)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Predicate.Units[0]; got.Payload != "" || got.Digest != strings.Repeat("ab", 32) {
		t.Errorf("expected no payload and the digest, got %d bytes and %s", len(got.Payload), got.Digest)
	}
	if p.Units[0].Payload == "" {
		t.Error("expected the caller's predicate unchanged")
	}
}

func FuzzDecode(f *testing.F) {
	statement, err := os.ReadFile(filepath.Join("testdata", "statement.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(statement), "a.b.c")
	f.Add(`{"_type":"https://in-toto.io/Statement/v1"}`, "")
	f.Fuzz(func(t *testing.T, statement, token string) {
		text := "v1." + base64.RawURLEncoding.EncodeToString([]byte(statement)) + "." + token
		decoded, err := Decode(text)
		if err != nil {
			return
		}
		again, err := decoded.Record.Statement()
		if err != nil || string(again) != statement {
			t.Fatalf("expected one form for a record, got %q and %q (%v)", statement, again, err)
		}
		if encoded, err := Encode(decoded.Statement, decoded.Token); err != nil || encoded != text {
			t.Fatalf("expected what was decoded, got another text (%v)", err)
		}
	})
}
