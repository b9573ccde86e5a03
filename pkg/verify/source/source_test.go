// SPDX-License-Identifier: Apache-2.0

package source

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

const (
	plain   = `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"a","namespace":"ci"}}`
	plainY  = "apiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata: {name: a, namespace: ci}\n"
	secret  = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}`
	secretY = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
)

// read returns one text for each item: the TaskRun's name, or its place and error.
func read(t *testing.T, text string) ([]string, error) {
	t.Helper()
	items, err := Read(strings.NewReader(text))
	var got []string
	for _, item := range items {
		switch {
		case (item.Err == nil) != (item.TaskRun != nil):
			t.Errorf("item %+v has neither TaskRun nor error, or both", item)
		case item.Err != nil:
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s: %v", item.Place, item.Err)))
		default:
			got = append(got, item.TaskRun.Namespace+"/"+item.TaskRun.Name)
		}
	}
	return got, err
}

func TestRead(t *testing.T) {
	list := func(items ...string) string {
		return `{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":""},"items":[` + strings.Join(items, ",") + `]}`
	}
	for name, c := range map[string]struct {
		text string
		want []string // each is part of an item's text
	}{
		"JSON":               {plain, []string{"ci/a"}},
		"YAML":               {plainY, []string{"ci/a"}},
		"YAML with comments": {"# a\n---\n# b\n---\n" + plainY + "---\n", []string{"ci/a"}},
		"lines of JSON":      {plain + "\n" + plain + "\n", []string{"ci/a", "ci/a"}},
		"several documents":  {plainY + "---\n" + plainY, []string{"ci/a", "ci/a"}},
		"list":               {list(plain, plain), []string{"ci/a", "ci/a"}},
		"list in YAML":       {"apiVersion: v1\nkind: List\nitems:\n- " + plain, []string{"ci/a"}},
		"v1beta1":            {strings.Replace(plain, "tekton.dev/v1", "tekton.dev/v1beta1", 1), []string{"ci/a"}},
		"unknown field":      {strings.Replace(plain, `"kind"`, `"newInTekton2":{"x":1},"kind"`, 1), []string{"ci/a"}},
		"one is no TaskRun":  {plainY + "---\n" + secretY, []string{"ci/a", "document 2: expected kind TaskRun of tekton.dev/v1, got kind Secret of v1"}},
		"item is no TaskRun": {list(plain, secret), []string{"ci/a", "item 2: expected kind TaskRun"}},
		"list in a list":     {list(list(plain)), []string{"item 1: expected kind TaskRun of tekton.dev/v1, got kind List"}},
		"empty list":         {list(), []string{"has no items"}},
		"another group":      {strings.Replace(plain, "tekton.dev/v1", "evil.dev/v1", 1), []string{"got kind TaskRun of evil.dev/v1"}},
		"another version":    {strings.Replace(plain, "tekton.dev/v1", "tekton.dev/v9", 1), []string{"got kind TaskRun of tekton.dev/v9"}},
		"no kind":            {`{}`, []string{"without kind"}},
		"array":              {`[` + plain + `]`, []string{"expected a Kubernetes object"}},
		"text":               {"hello", []string{"expected a Kubernetes object"}},
		"case of a field":    {strings.Replace(plain, `"kind"`, `"Status":{},"kind"`, 1), []string{`"Status" differs from "status" in case`}},
		"key twice":          {strings.Replace(plain, `"kind"`, `"status":{},"status":{},"kind"`, 1), []string{`"status" stands twice`}},
		"kind twice":         {strings.Replace(plain, `"kind"`, `"kind":"Secret","kind"`, 1), []string{`"kind" stands twice`}},
		"value's key twice": {
			strings.Replace(plain, `"kind"`, `"status":{"results":[{"name":"o","value":{"a":"1","a":"2"}}]},"kind"`, 1),
			[]string{`"a" stands twice`},
		},
		"too deep": {
			strings.Replace(plain, `"kind"`, `"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,"kind"`, 1), []string{"nested deeper"},
		},
		"wrong type":   {strings.Replace(plain, `"a"`, `1`, 1), []string{"cannot unmarshal"}},
		"many results": {results(maxResults + 1), []string{"at most 4096 results"}},
		"all results":  {results(maxResults), []string{"ci/a"}},
		"large":        {strings.Replace(plain, `"a"`, `"`+strings.Repeat("a", maxObjectBytes)+`"`, 1), []string{"larger than 8 MiB"}},
	} {
		got, err := read(t, c.text)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: got %.500q, %v, want %d items", name, got, err, len(c.want))
			continue
		}
		for i := range c.want {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: item %d is %.500q, want it to contain %q", name, i, got[i], c.want[i])
			}
		}
	}
}

func results(n int) string {
	list := strings.TrimSuffix(strings.Repeat(`{"name":"r","type":"string","value":""},`, n), ",")
	return strings.Replace(plain, `"kind"`, `"status":{"results":[`+list+`]},"kind"`, 1)
}

func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "empty"},
		"blank":             {" \n\t\n", "empty"},
		"comments":          {"# nothing\n---\n# here\n", "empty"},
		"cut off":           {plain[:40], "no valid JSON"},
		"garbage behind":    {plain + "x", "no valid JSON"},
		"binary":            {"\x00\x01{{{{", "document 1"},
		"alias":             {"a: &x [1]\nb: *x\n", "anchor &x"},
		"bomb":              {"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "anchor"},
		"merge key":         {"a: {<<: {b: 1}}\n", "plain key"},
		"tag":               {"a: !!binary aGVsbG8=\n", "tag"},
		"own tag":           {"a: !evil x\n", "tag"},
		"key twice in YAML": {plainY + "kind: Secret\n", "already"},
		"list as a key":     {"? [a]\n: b\n", "plain key"},
		"second document":   {plainY + "...\n" + secretY, "document"},
		"too deep":          {strings.Repeat("- ", 80) + "x\n", "nested deeper"},
		"tabs":              {"a:\n\t- b\n", "document 1"},
	} {
		if got, err := read(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, error %v, want one with %q", name, got, err, c.want)
		}
	}
}

func TestReadCapsTheFile(t *testing.T) {
	if _, err := Read(strings.NewReader(strings.Repeat(" ", MaxBytes+1))); err == nil || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("got error %v", err)
	}
}

// A TaskRun is the same whether it is read from JSON or YAML.
func TestYAMLAndJSONAgree(t *testing.T) {
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	want, err := verifytest.NewRun().TaskRun(cluster)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.JSONToYAML(asJSON)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"JSON": asJSON, "YAML": asYAML} {
		items, err := Read(strings.NewReader(string(data)))
		if err != nil || len(items) != 1 || items[0].Err != nil {
			t.Fatalf("%s: %v, %+v", name, err, items)
		}
		if diff := cmp.Diff(want, items[0].TaskRun); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", name, diff)
		}
	}
}

// A TaskRun of version v1beta1 keeps all that its steps signed, but for artifacts, which it has no place for.
func TestV1beta1KeepsTheStatus(t *testing.T) {
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	want, err := verifytest.NewRun().TaskRun(cluster)
	if err != nil {
		t.Fatal(err)
	}
	old := &v1beta1.TaskRun{}
	if err := old.ConvertFrom(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	old.APIVersion, old.Kind = "tekton.dev/v1beta1", "TaskRun"
	data, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	want.Status.Artifacts = nil
	if diff := cmp.Diff(want.Status, got.Status); diff != "" {
		t.Errorf("status differs (-want +got):\n%s", diff)
	}
	const step = `{"name":"s","container":"step-s","outputs":[{"name":"image","values":[{"uri":"oci://x"}]}]}`
	artifacts := strings.Replace(plain, "tekton.dev/v1", "tekton.dev/v1beta1", 1)
	artifacts = strings.Replace(artifacts, `"kind"`, `"status":{"steps":[`+step+`]},"kind"`, 1)
	if _, err := Decode([]byte(artifacts)); err == nil || !strings.Contains(err.Error(), "artifacts") {
		t.Errorf("artifacts of a step are lost: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		plain, plainY, plainY + "---\n" + secretY, `{"kind":"List","items":[` + plain + `]}`, "a: &x [1]\nb: *x\n", "? [a]\n: b\n", results(3),
		"kind: \"\\u0054askRun\"\n", "%YAML 1.1\n---\n" + plainY,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := Read(strings.NewReader(string(data)))
		if (err == nil) != (len(items) > 0) {
			t.Fatalf("%d items, error %v", len(items), err)
		}
		for _, item := range items {
			if (item.Err == nil) != (item.TaskRun != nil) {
				t.Errorf("item %+v", item)
			}
		}
	})
}
