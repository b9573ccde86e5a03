// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"encoding/json"
	"errors"
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

// read returns one text for each object: the TaskRun's name, or its place and error.
func read(t *testing.T, text string) []string {
	t.Helper()
	var got []string
	for object := range Read(strings.NewReader(text)) {
		tr, err := object.TaskRun()
		var omitted *Omitted
		switch {
		case (err == nil) != (tr != nil):
			t.Errorf("object %+v has neither TaskRun nor error, or both", object)
		case errors.As(err, &omitted):
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s: omitted %v", object.Place, err)))
		case err != nil:
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s: %v", object.Place, err)))
		default:
			got = append(got, tr.Namespace+"/"+tr.Name)
		}
	}
	return got
}

// compare expects every text of got to contain the text of want at the same index.
func compare(t *testing.T, name string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: got %.500q, want %d items", name, got, len(want))
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s: item %d is %.500q, want it to contain %q", name, i, got[i], want[i])
		}
	}
}

func TestRead(t *testing.T) {
	list := func(items ...string) string {
		return `{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":""},"items":[` +
			strings.Join(items, ",") + `]}`
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
		"one is no TaskRun": {
			plainY + "---\n" + secretY, []string{"ci/a",
				"document 2: expected kind TaskRun of tekton.dev/v1, got kind Secret of v1"},
		},
		"behind a comment":   {plainY + "---\n# b\rkind: Secret\r", []string{"ci/a", "document 2: expected kind TaskRun"}},
		"item is no TaskRun": {list(plain, secret), []string{"ci/a", "item 2: expected kind TaskRun"}},
		"list in a list":     {list(list(plain)), []string{"item 1: expected kind TaskRun of tekton.dev/v1, got kind List"}},
		"empty list":         {list(), []string{"has no items"}},
		"another group": {
			strings.Replace(plain, "tekton.dev/v1", "evil.dev/v1", 1), []string{"got kind TaskRun of evil.dev/v1"},
		},
		"another version": {
			strings.Replace(plain, "tekton.dev/v1", "tekton.dev/v9", 1), []string{"got kind TaskRun of tekton.dev/v9"},
		},
		"no kind": {`{}`, []string{"without kind"}},
		"array":   {`[` + plain + `]`, []string{"expected a Kubernetes object"}},
		"text":    {"hello", []string{"expected a Kubernetes object"}},
		"case of a field": {
			strings.Replace(plain, `"kind"`, `"Status":{},"kind"`, 1), []string{`"Status" differs from "status" in case`},
		},
		"key twice": {
			strings.Replace(plain, `"kind"`, `"status":{},"status":{},"kind"`, 1), []string{`"status" occurs twice`},
		},
		"kind twice": {
			strings.Replace(plain, `"kind"`, `"kind":"Secret","kind"`, 1), []string{`"kind" occurs twice`},
		},
		"value's key twice": {
			strings.Replace(plain, `"kind"`, `"status":{"results":[{"name":"o","value":{"a":"1","a":"2"}}]},"kind"`, 1),
			[]string{`"a" occurs twice`},
		},
		"too deep": {
			strings.Replace(plain, `"kind"`, `"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,"kind"`, 1),
			[]string{"nested deeper"},
		},
		"wrong type":   {strings.Replace(plain, `"a"`, `1`, 1), []string{"cannot unmarshal"}},
		"many results": {results(maxResults + 1), []string{"at most 4096 results"}},
		"all results":  {results(maxResults), []string{"ci/a"}},
		"large": {
			strings.Replace(plain, `"a"`, `"`+strings.Repeat("a", maxObjectBytes)+`"`, 1), []string{"larger than 8 MiB"},
		},
	} {
		compare(t, name, read(t, c.text), c.want)
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
		"cut off":           {plain[:40], "invalid JSON"},
		"binary":            {"\x00\x01{{{{", "not plain YAML"},
		"alias":             {"a: &x [1]\nb: *x\n", "anchor &x"},
		"bomb":              {"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "anchor"},
		"merge key":         {"a: {<<: {b: 1}}\n", "plain key"},
		"tag":               {"a: !!binary aGVsbG8=\n", "tag"},
		"own tag":           {"a: !evil x\n", "tag"},
		"key twice in YAML": {plainY + "kind: Secret\n", "already"},
		"list as a key":     {"? [a]\n: b\n", "plain key"},
		"second document":   {plainY + "...\n" + secretY, "document"},
		"too deep":          {strings.Repeat("- ", 80) + "x\n", "nested deeper"},
		"CR and directive":  {"# a\r%TAG !a! tag:x\r---\ra: b\r\nb: c\n", "a directive"},
		"LS and directive":  {"# a\u2028%TAG !a! tag:x\u2028---\u2028a: b\nb: c\n", "a directive"},
		"CR hides values":   {strings.Repeat("a:\r", maxYAMLNodes+1), "more than"},
		"long name": {
			strings.Replace(plain, `"a"`, `"`+strings.Repeat("a", 254)+`"`, 1), "metadata.name has 254 bytes",
		},
		"tabs": {"a:\n\t- b\n", "not plain YAML"},
	} {
		compare(t, name, read(t, c.text), []string{c.want})
	}
}

// A TaskRun read from JSON equals the same TaskRun read from YAML.
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
		for object := range Read(bytes.NewReader(data)) {
			got, err := object.TaskRun()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", name, diff)
			}
		}
	}
}

// A TaskRun of version v1beta1 keeps everything that its steps signed, except artifacts, for which it has no
// field.
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
		plain, plainY, plainY + "---\n" + secretY, `{"kind":"List","items":[` + plain + `]}`, "a: &x [1]\nb: *x\n",
		"? [a]\n: b\n", results(3),
		"kind: \"\\u0054askRun\"\n", "%YAML 1.1\n---\n" + plainY, listY(plainY), export(plain), plain + "\n{\n" + plain,
		"\xef\xbb\xbf" + plain,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		for object := range Read(bytes.NewReader(data)) {
			n++
			if tr, err := object.TaskRun(); (err == nil) != (tr != nil) {
				t.Errorf("object %+v", object)
			}
		}
		if n == 0 {
			t.Error("nothing was said")
		}
	})
}
