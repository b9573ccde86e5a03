// SPDX-License-Identifier: Apache-2.0

package chains

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestRead(t *testing.T) {
	got := Read(object(t, `
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: build
  uid: 0b8e4b2c
  resourceVersion: "7"
  deletionTimestamp: "2026-05-04T11:00:00Z"
  annotations: {tekton-sign.dev/chains: "0b8e4b2c: held", chains.tekton.dev/signed: failed}
  finalizers: [tekton-sign.dev/chains]
status:
  podName: build-pod
  completionTime: "2026-05-04T10:00:00Z"
  conditions:
  - {type: Succeeded, status: "False"}
  - {type: SignedResultsVerified, status: "False"}
`))
	want := Run{
		Kind: "TaskRun", UID: uid, ResourceVersion: "7", Finalizers: []string{Finalizer},
		Annotations: map[string]string{Marker: "0b8e4b2c: held", Hold: "failed"},
		Deleted:     time.Date(2026, 5, 4, 11, 0, 0, 0, time.UTC),
		Complete:    true, Completed: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC),
		Verdict: Bad, Why: "SignedResultsVerified is False",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
}

// TestReadStatus checks whether Chains would act on a status, and the add-on's verdict in it.
func TestReadStatus(t *testing.T) {
	const succeeded, verified = `{"type":"Succeeded","status":"True"}`, `{"type":"SignedResultsVerified","status":"True"}`
	status := func(conditions, fields string) string {
		return `{"kind":"TaskRun","status":{"conditions":[` + conditions + `]` + fields + `}}`
	}
	for name, tc := range map[string]struct {
		object   string
		complete bool
		verdict  Verdict
	}{
		"new":          {`{"kind":"TaskRun"}`, false, Pending},
		"no condition": {status(``, ``), false, Pending},
		"running":      {status(`{"type":"Succeeded","status":"Unknown"}`, ``), false, Pending},
		"running, said to be verified": {
			status(`{"type":"Succeeded","status":"Unknown"},`+verified, ``), false, Pending,
		},
		"ended, as nobody says but Chains": {status(`{"type":"Succeeded","status":"Perhaps"},`+verified, ``), true, Good},
		"ended, without a status":          {status(`{"type":"Succeeded"}`, `,"results":[{}]`), true, Pending},
		"two ends": {
			status(`{"type":"Succeeded","status":"Unknown"},`+succeeded, `,"results":[{}]`), true, Pending,
		},
		"verified": {status(succeeded+`,`+verified, ``), true, Good},
		"not verified": {
			status(succeeded+`,{"type":"SignedResultsVerified","status":"False"}`, ``), true, Bad,
		},
		"awaited": {
			status(succeeded+`,{"type":"SignedResultsVerified","status":"Unknown"}`, ``), true, Pending,
		},
		"verdict of another case": {
			status(succeeded+`,{"type":"SignedResultsVerified","status":"true"}`, ``), true, Pending,
		},
		"two verdicts": {status(succeeded+`,`+verified+`,`+verified, ``), true, Bad},
		"nothing to verify": {
			status(succeeded, `,"taskSpec":{"steps":[{}]},"steps":[{"name":"a"}]`), true, Good,
		},
		"results, no verdict":      {status(succeeded, `,"results":[{"name":"a"}]`), true, Pending},
		"declared, no verdict":     {status(succeeded, `,"taskSpec":{"results":[{"name":"a"}]}`), true, Pending},
		"artifacts, no verdict":    {status(succeeded, `,"artifacts":{"outputs":[{}]}`), true, Pending},
		"step results, no verdict": {status(succeeded, `,"steps":[{"results":[{}]}]`), true, Pending},
		"step outputs, no verdict": {status(succeeded, `,"steps":[{},{"outputs":[{}]}]`), true, Pending},
		"step inputs, no verdict":  {status(succeeded, `,"steps":[{"inputs":[{}]}]`), true, Pending},
		"conditions are nonsense":  {`{"kind":"TaskRun","status":{"conditions":"x"}}`, true, Bad},
		"a pipeline run": {
			`{"kind":"PipelineRun","status":{"conditions":[` + succeeded + `,` + verified + `]}}`, true, Pending,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := Read(object(t, tc.object))
			if r.Complete != tc.complete || r.Verdict != tc.verdict {
				t.Errorf("got complete %v, verdict %q; want %v, %q", r.Complete, r.Verdict, tc.complete, tc.verdict)
			}
			if (r.Verdict == Bad) != (r.Why != "") {
				t.Errorf("verdict %q with reason %q", r.Verdict, r.Why)
			}
		})
	}
}

func TestState(t *testing.T) {
	for marker, want := range map[string]State{
		"":                                   None,
		"held":                               None,
		"1f6d: held":                         None,
		"0b8e4b2cheld":                       None,
		"0b8e4b2c:held":                      None,
		"0b8e4b2c: held":                     Held,
		"0b8e4b2c: released":                 Released,
		"0b8e4b2c: refused":                  Refused,
		"0b8e4b2c: refused, it is bad, very": Refused,
		"0b8e4b2c: ":                         Refused,
		"0b8e4b2c: something new":            Refused,
	} {
		r := Run{UID: uid, Annotations: map[string]string{Marker: marker}}
		if got := r.State(); got != want {
			t.Errorf("%q: got %q, want %q", marker, got, want)
		}
	}
	if got := (Run{Annotations: map[string]string{Marker: ": released"}}).State(); got != None {
		t.Errorf("without a UID: got %q", got)
	}
}

func TestJudge(t *testing.T) {
	child := func(name string, complete bool, v Verdict) Child {
		return Child{name, Run{Kind: "TaskRun", Complete: complete, Verdict: v, Why: "it is " + string(v)}}
	}
	good, other := child("a", true, Good), child("b", true, Good)
	const gone = "one of its TaskRuns is gone, or not its own"
	for name, tc := range map[string]struct {
		references string
		children   []Child
		want       Verdict
		why        string
	}{
		"nothing ran": {`[]`, nil, Good, ""},
		"all good": {
			`[{kind: TaskRun, name: a}, {kind: TaskRun, name: b}]`, []Child{good, other}, Good, "",
		},
		"one is not named": {`[{kind: TaskRun, name: a}]`, []Child{good, other}, Good, ""},
		"one runs": {
			`[{kind: TaskRun, name: a}]`, []Child{good, child("b", false, Pending)}, Pending, "",
		},
		"one runs, verified": {`[]`, []Child{child("b", false, Good)}, Pending, ""},
		"one waits":          {`[{kind: TaskRun, name: a}]`, []Child{child("a", true, Pending)}, Pending, ""},
		"one bad": {
			`[{kind: TaskRun, name: a}]`, []Child{child("a", true, Bad), other}, Bad, "of TaskRun a: it is bad",
		},
		"one bad, one waits": {
			`[{kind: TaskRun, name: a}]`, []Child{child("b", true, Pending), child("a", true, Bad)}, Bad,
			"of TaskRun a: it is bad",
		},
		"a bad one is not named":       {`[{kind: TaskRun, name: a}]`, []Child{good, child("b", true, Bad)}, Pending, ""},
		"one is gone":                  {`[{kind: TaskRun, name: a}, {kind: TaskRun, name: b}]`, []Child{good}, Bad, gone},
		"one is gone, another one bad": {`[{kind: TaskRun, name: a}]`, []Child{child("b", true, Bad)}, Bad, gone},
		"without a name": {
			`[{kind: TaskRun}]`, nil, Bad, "it ran something other than TaskRuns, whose results are not verified",
		},
		"a custom run": {
			`[{kind: CustomRun, name: a}]`, []Child{good}, Bad,
			"it ran something other than TaskRuns, whose results are not verified",
		},
		"nonsense": {
			`[5]`, nil, Bad, "it ran something other than TaskRuns, whose results are not verified",
		},
		"no list": {`x`, nil, Bad, "its status cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := Judge(object(t, "kind: PipelineRun\nstatus: {childReferences: "+tc.references+"}"), tc.children)
			if got != tc.want || why != tc.why {
				t.Errorf("got %q, %q; want %q, %q", got, why, tc.want, tc.why)
			}
		})
	}
}

func TestUnproven(t *testing.T) {
	for name, tc := range map[string]struct {
		run  Run
		want Verdict
	}{
		"good":               {Run{Kind: "TaskRun", Complete: true, Verdict: Good}, Pending},
		"bad":                {Run{Kind: "TaskRun", Complete: true, Verdict: Bad, Why: "x"}, Pending},
		"never ran":          {Run{Kind: "TaskRun", Complete: true, Verdict: Pending, Idle: true}, Good},
		"never ran, goes on": {Run{Kind: "TaskRun", Verdict: Pending, Idle: true}, Pending},
		"never ran, forged":  {Run{Kind: "TaskRun", Complete: true, Verdict: Bad, Why: "x", Idle: true}, Good},
	} {
		if got := tc.run.Unproven(); got.Verdict != tc.want || got.Why != "" {
			t.Errorf("%s: got %q, %q", name, got.Verdict, got.Why)
		}
	}
}

func TestOwns(t *testing.T) {
	yes, no := true, false
	pipelineRun := &metav1.ObjectMeta{UID: "p"}
	for name, tc := range map[string]struct {
		owners []metav1.OwnerReference
		want   bool
	}{
		"its controller": {
			[]metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "PipelineRun", UID: "p", Controller: &yes}}, true,
		},
		"an owner": {
			[]metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "PipelineRun", UID: "p", Controller: &no}}, false,
		},
		"another one": {
			[]metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "PipelineRun", UID: "q", Controller: &yes}}, false,
		},
		"another kind": {
			[]metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", UID: "p", Controller: &yes}}, false,
		},
		"of somebody else's": {
			[]metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "PipelineRun", UID: "p", Controller: &yes}}, false,
		},
		"nobody": {nil, false},
	} {
		if got := Owns(pipelineRun, &metav1.ObjectMeta{OwnerReferences: tc.owners}); got != tc.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
