// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func testKey(t testing.TB) Key {
	t.Helper()
	key, err := ParseKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func subject() Subject {
	return Subject{Namespace: "ci", Name: "build", UID: "u", State: [32]byte{1},
		Condition: Condition{"SignedResultsVerified", "True", "r", "m"}}
}

func facts() Facts {
	return Facts{
		Verdict: "VERIFIED", Backend: "spire", Assurance: "workload-identity", Checks: []string{"pod pass", "time pass"},
		Keys:    []string{"k"},
		Cluster: "c", PodUID: "p", PodOwner: "u", Pinned: true, At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Record: "d",
	}
}

func TestSealFitsItsSubjectAlone(t *testing.T) {
	text, err := Make(testKey(t), subject(), facts())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(testKey(t), subject(), text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(facts(), got); diff != "" {
		t.Error(diff)
	}
	for name, change := range map[string]func(*Subject){
		"namespace": func(s *Subject) { s.Namespace = "c" }, "name": func(s *Subject) { s.Name = "x" },
		"uid":   func(s *Subject) { s.UID = "v" },
		"state": func(s *Subject) { s.State[31] = 1 }, "no condition": func(s *Subject) { s.Condition = Condition{} },
		"type": func(s *Subject) { s.Condition.Type = "x" }, "status": func(s *Subject) { s.Condition.Status = "False" },
		"reason": func(s *Subject) { s.Condition.Reason = "x" }, "message": func(s *Subject) { s.Condition.Message = "x" },
		"a border": func(s *Subject) { s.Namespace, s.Name = "cib", "uild" },
	} {
		of := subject()
		change(&of)
		if got, err := Open(testKey(t), of, text); err == nil {
			t.Errorf("another %s: opened %+v", name, got)
		}
	}
	other, err := ParseKey(bytes.Repeat([]byte("ab"), 16))
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]Key{"another key": other, "no key": {}} {
		if _, err := Open(key, subject(), text); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := Make(Key{}, subject(), facts()); err == nil {
		t.Error("made without a key")
	}
}

func TestSealForms(t *testing.T) {
	good, err := Make(testKey(t), subject(), facts())
	if err != nil {
		t.Fatal(err)
	}
	body, tag, _ := strings.Cut(strings.TrimPrefix(good, prefix), ".")
	for name, text := range map[string]string{
		"empty": "", "no version": body + "." + tag, "another version": "v2." + body + "." + tag,
		"no authenticator": prefix + body,
		"an empty one":     prefix + body + ".", "a short one": prefix + body + "." + tag[:4], "three parts": good + ".AA",
		"padding":      good + "=",
		"a line break": good + "\n", "another body": prefix + "e30." + tag,
		"huge": prefix + strings.Repeat("A", MaxBytes) + "." + tag,
	} {
		if _, err := Open(testKey(t), subject(), text); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	many := facts()
	many.Keys = []string{strings.Repeat("k", MaxBytes)}
	if _, err := Make(testKey(t), subject(), many); err == nil {
		t.Error("made one that is too long")
	}
}

// Even an authentic body is parsed strictly, because a later version must have another prefix.
func TestSealBodyIsStrict(t *testing.T) {
	for _, body := range []string{`{"verdict":"VERIFIED","new":1}`, `{"verdict":"A","verdict":"B"}`, `{} {}`, `[]`} {
		sum := authenticator(testKey(t), subject(), []byte(body))
		if got, err := Open(testKey(t), subject(), prefix+encode([]byte(body))+"."+encode(sum)); err == nil {
			t.Errorf("%s: opened %+v", body, got)
		}
	}
}

func TestKeys(t *testing.T) {
	for name, secret := range map[string][]byte{"none": nil, "short": make([]byte, 31), "zero": make([]byte, 32),
		"long": make([]byte, 33)} {
		if key, err := ParseKey(secret); err == nil || key.Usable() {
			t.Errorf("%s: is a key", name)
		}
	}
	a, b := NewSecret(), NewSecret()
	if _, err := ParseKey(a); err != nil || bytes.Equal(a, b) {
		t.Errorf("made %x and %x: %v", a, b, err)
	}
}

func taskRun(change func(status map[string]any)) *unstructured.Unstructured {
	status := map[string]any{
		"podName": "p", "results": []any{map[string]any{"name": "a", "value": "b"}}, "provenance": map[string]any{},
		"artifacts": nil,
		"conditions": []any{
			map[string]any{"type": "SignedResultsVerified", "status": "True", "reason": "r", "message": "m",
				"lastTransitionTime": "t"},
			map[string]any{"type": "Succeeded", "status": "True", "reason": "r", "message": "x"},
		},
	}
	if change != nil {
		change(status)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	u.SetNamespace("ci")
	u.SetName("build")
	u.SetUID("u")
	return u
}

func TestSubjectOf(t *testing.T) {
	of, err := SubjectOf(taskRun(nil))
	if err != nil || of.Condition != (Condition{"SignedResultsVerified", "True", "r", "m"}) || of.UID != "u" {
		t.Fatalf("got %+v, %v", of, err)
	}
	conditions := func(s map[string]any) []any { return s["conditions"].([]any) } //nolint:forcetypeassert // as made above
	field := func(i int, name string, value any) func(map[string]any) {
		return func(s map[string]any) {
			conditions(s)[i].(map[string]any)[name] = value //nolint:forcetypeassert // as made above
		}
	}
	for name, tc := range map[string]struct {
		change func(map[string]any)
		same   bool
	}{
		"another field":        {func(s map[string]any) { s["provenance"] = "x"; delete(s, "artifacts") }, true},
		"the order":            {func(s map[string]any) { c := conditions(s); c[0], c[1] = c[1], c[0] }, true},
		"when it changed":      {field(0, "lastTransitionTime", "u"), true},
		"message of Succeeded": {field(1, "message", "y"), true},
		"a result":             {func(s map[string]any) { s["results"] = []any{} }, false},
		"an attempt":           {func(s map[string]any) { s["retriesStatus"] = []any{"x"} }, false},
		"status of Succeeded":  {field(1, "status", "False"), false},
		"reason of Succeeded":  {field(1, "reason", "y"), false},
		"another Succeeded": {
			func(s map[string]any) { s["conditions"] = append(conditions(s), conditions(s)[1]) }, false,
		},
		"a large number beside": {func(s map[string]any) { s["steps"] = []any{int64(1<<60 + 1)} }, false},
	} {
		got, err := SubjectOf(taskRun(tc.change))
		if err != nil || (got == of) != tc.same {
			t.Errorf("%s: the same %v, want %v, %v", name, got == of, tc.same, err)
		}
	}
	for name, change := range map[string]func(map[string]any){
		"two of ours": func(s map[string]any) { s["conditions"] = append(conditions(s), conditions(s)[0]) },
		"a number":    field(0, "reason", int64(5)),
	} {
		if got, err := SubjectOf(taskRun(change)); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestFacts(t *testing.T) {
	r := verify.Result{
		Verdict: verify.Unsigned, Reason: strings.Repeat("x", 65), Cluster: &verify.ClusterRef{UID: "c"},
		Checks: []verify.Check{{ID: "pod", Status: verify.Pass}, {ID: "pod", Status: verify.Note},
			{ID: "coverage", Status: verify.Missing}},
	}
	got := FactsOf(r, verify.Facts{Pod: &verify.PodFacts{Found: true, UID: "p", ControllerUID: "o"}}, time.Now())
	if got.Reason != "" || len(got.Checks) != 2 || got.Pod("o") != "p" || got.Pod("x") != "" || got.Good() {
		t.Errorf("got %+v", got)
	}
	back := got.Result()
	if back.Verdict != verify.Unsigned || back.Cluster.UID != "c" || len(back.Checks) != 2 ||
		back.Checks[1] != (verify.Check{ID: "coverage", Status: verify.Missing}) {
		t.Errorf("got back %+v", back)
	}
	if RecordDigest("") != "" || len(RecordDigest("x")) != 64 {
		t.Error("a record's digest")
	}
}

func FuzzOpen(f *testing.F) {
	good, err := Make(testKey(f), subject(), facts())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("v1..")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := Open(testKey(t), subject(), text); err == nil && text != good {
			t.Errorf("opened %q", text)
		}
	})
}
