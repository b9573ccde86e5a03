// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// named returns plain with another name.
func named(name string) string { return strings.Replace(plain, `"a"`, `"`+name+`"`, 1) }

// export returns TaskRuns as Tekton Results exports its records.
func export(objects ...string) string {
	var records []string
	for _, o := range objects {
		records = append(records, record1("tekton.dev/v1.TaskRun", o))
	}
	return `{"records":[` + strings.Join(records, ",") + `],"nextPageToken":""}`
}

func record1(kind, object string) string {
	return fmt.Sprintf(
		`{"name":"ci/results/1/records/2","id":"3","uid":"3","data":{"type":%q,"value":%q},`+
			`"etag":"3-1","createTime":"2025-06-02T12:00:00Z"}`,
		kind, base64.StdEncoding.EncodeToString([]byte(object)))
}

// listY returns a List as kubectl writes it in YAML.
func listY(items ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nitems:\n")
	for _, item := range items {
		b.WriteString("- " + strings.ReplaceAll(strings.TrimSuffix(item, "\n"), "\n", "\n  ") + "\n")
	}
	b.WriteString("kind: List\nmetadata:\n  resourceVersion: \"\"\n")
	return b.String()
}

func pack(t testing.TB, data string) string {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// An error in one object is reported for that object only, and the others are read all the same.
func TestOneObjectSpoilsNoOther(t *testing.T) {
	large := strings.Replace(named("big"), `"kind"`, `"x":"`+strings.Repeat("x", maxObjectBytes)+`","kind"`, 1)
	largeInside := strings.Replace(named("big"), `"kind"`,
		`"x":[`+strings.Repeat(`"\\\"",`, maxObjectBytes/6)+`1],"kind"`, 1)
	largeY := plainY + "x:\n" + strings.Repeat("- some text\n", maxObjectBytes/10)
	a, b := "ci/a", "ci/b"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"line of garbage":    {plain + "\nhello {\n" + named("b"), []string{a, `document 2: invalid JSON at byte`, b}},
		"line cut off":       {plain + "\n" + plain[:40] + "\n" + named("b"), []string{a, "document 2: invalid JSON", b}},
		"line cut in string": {plain[:20] + "\n" + named("b"), []string{"document 1: invalid JSON", b}},
		"first line cut": {
			plain[:len(plain)-1] + "\n" + named("b") + "\n" + plain, []string{"document 1: invalid JSON", b, a},
		},
		"bad literal": {
			plain + `{"a":nonsense}` + named("b"), []string{a, "document 2: expected a Kubernetes object: invalid character", b},
		},
		"bad key":          {plain + "\n{1:2}\n" + named("b"), []string{a, "document 2: invalid JSON", b}},
		"comma at the end": {plain + "\n{\"a\":1,}\n" + named("b"), []string{a, "document 2: invalid JSON", b}},
		"garbage behind":   {plain + "x\n" + named("b"), []string{a, "document 2: invalid JSON", b}},
		"item of garbage": {
			`{"items":[` + plain + `,nonsense,` + named("b") + `],"kind":"List"}`,
			[]string{a, "item 2: expected a Kubernetes object", b},
		},
		"large line": {plain + "\n" + large + "\n" + named("b"), []string{a, "document 2: larger than 8 MiB", b}},
		"large item": {
			`{"kind":"List","items":[` + plain + "," + large + "," + largeInside + "," + named("b") + `]}`,
			[]string{a, "item 2: larger than 8 MiB", "item 3: larger than 8 MiB", b},
		},
		"large document": {plainY + "---\n" + largeY + "---\n" + plainY, []string{a, "document 2: larger than 8 MiB", a}},
		"large YAML item": {
			listY(plainY, largeY, plainY), []string{a, "item 2: larger than 8 MiB", a},
		},
		"YAML garbage": {plainY + "---\n}{\n---\n" + plainY, []string{a, "document 2: not plain YAML", a}},
		"YAML item of garbage": {
			listY(plainY, "a: \"\n", plainY), []string{a, "item 2: not plain YAML", a},
		},
	} {
		compare(t, name, read(t, c.text), c.want)
	}
}

func TestLists(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"YAML": {listY(plainY, plainY), []string{"ci/a", "ci/a"}},
		"YAML, indented": {
			"kind: List\nitems: # two\n  # first\n  - " + plain + "\n\n  - " + plain + "\napiVersion: v1\n",
			[]string{"ci/a", "ci/a"},
		},
		"lists in documents": {
			listY(plainY) + "---\n" + listY(plainY, secretY),
			[]string{"ci/a", "ci/a", "document 2, item 2: expected kind TaskRun"},
		},
		"JSON, kind last": {
			`{"items":[` + plain + `,` + named("b") + `],"kind":"List","apiVersion":"v1"}`, []string{"ci/a", "ci/b"},
		},
		"escaped key": {`{"\u0069tems":[` + plain + `],"kind":"List"}`, []string{"ci/a"}},
		"lists in a row": {
			`{"items":[` + plain + `],"kind":"List"}` + "\n" + `{"items":[1],"kind":"List"}`,
			[]string{"ci/a", "document 2, item 1: expected"},
		},
		"items twice": {
			`{"items":[` + plain + `],"items":[],"kind":"List"}`, []string{"ci/a", `"items" occurs twice`},
		},
		"items in two cases": {`{"items":[` + plain + `],"Items":[],"kind":"List"}`, []string{"ci/a", `"Items"`}},
		"no list": {
			`{"items":[` + plain + `],"kind":"TaskRun"}`, []string{"ci/a", `got kind "TaskRun" with items`},
		},
		"cut off":         {`{"items":[` + plain + `,`, []string{"ci/a", "after item 1: invalid JSON"}},
		"empty in YAML":   {"kind: List\nitems: []\n", []string{"has no items"}},
		"nothing in YAML": {"kind: List\nitems:\n", []string{"has no items"}},
		"items twice in YAML": {
			"kind: List\nitems:\n- " + plain + "\nitems:\n- " + plain + "\n", []string{"ci/a", `"items" already set`},
		},
		"hidden in a string": {
			"kind: List\nx: \"\nitems:\n- " + plain + "\n\"\n", []string{"ci/a", "can be read in two ways"},
		},
		"string around an item": {
			"kind: List\nitems:\n- x: \"\n- " + plain + "\n\"\n",
			[]string{"item 1: not plain YAML", "ci/a", "around the items: not plain YAML"},
		},
		"two kinds of items": {
			"kind: List\n\"items\": [{}]\nx: \"\nitems:\n- " + plain + "\n\"\n", []string{"ci/a", "can be read in two ways"},
		},
		"map for items": {"kind: List\nitems:\n  a: b\n", []string{"not plain YAML"}},
		"document in it": {
			"kind: List\nitems:\n- " + plain + "\n...\n- " + plain + "\n", []string{"ci/a", "more than one document"},
		},
		"Results": {export(plain, named("b")), []string{"ci/a", "ci/b"}},
		"Results, v1beta": {
			`{"records":[` + record1("tekton.dev/v1beta1.TaskRun", strings.Replace(plain, "/v1", "/v1beta1", 1)) + `]}`,
			[]string{"ci/a"},
		},
		"Results, others": {
			`{"records":[` + record1("tekton.dev/v1.PipelineRun", "{}") + "," +
				record1("results.tekton.dev/v1alpha3.Log", "{}") + "," +
				record1("tekton.dev/v1.TaskRun", plain) + `]}`,
			[]string{"item 1: omitted records of type tekton.dev/v1.PipelineRun",
				"item 2: omitted records of type results.tekton.dev/v1alpha3.Log", "ci/a"},
		},
		"Results, one record": {record1("tekton.dev/v1.TaskRun", plain), []string{"ci/a"}},
		"Results, lines": {
			record1("tekton.dev/v1.TaskRun", plain) + "\n" + record1("tekton.dev/v1.PipelineRun", "{}"),
			[]string{"ci/a", "document 2: omitted"},
		},
		"Results, another type": {
			`{"records":[` + record1("tekton.dev/v1.TaskRun", secret) + `]}`,
			[]string{"item 1: data.value of the record ci/results/1/records/2: expected kind TaskRun"},
		},
		"Results, no base64": {
			`{"records":[{"data":{"type":"tekton.dev/v1.TaskRun","value":"e30=\n"}}]}`, []string{"item 1: data.value"},
		},
		"Results, bad base64": {
			`{"records":[{"data":{"type":"tekton.dev/v1.TaskRun","value":"e31="}}]}`, []string{"item 1: data.value"},
		},
		"Results, no data": {`{"records":[{"name":"x"}]}`, []string{"item 1: the record x has no data.type"}},
		"Results, more pages": {
			strings.Replace(export(plain), `Token":""`, `Token":"x"`, 1), []string{"ci/a", "omitted further pages"},
		},
		"Results, empty": {export(), []string{"the export of Tekton Results has no items"}},
	} {
		t.Run(name, func(t *testing.T) { compare(t, name, read(t, c.text), c.want) })
	}
}

// It does not matter how the bytes arrive.
func TestReadInPieces(t *testing.T) {
	for _, text := range []string{export(plain, named("b")), listY(plainY, plainY), plain + "\n" + named(`b\"\\`),
		pack(t, plain+named("b"))} {
		for name, r := range map[string]io.Reader{
			"bytes": iotest.OneByteReader(strings.NewReader(text)), "halves": iotest.HalfReader(strings.NewReader(text)),
			"with the end": iotest.DataErrReader(strings.NewReader(text)),
		} {
			n := 0
			for object := range Read(r) {
				if _, err := object.TaskRun(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				n++
			}
			if n != 2 {
				t.Errorf("%s: %d objects in %.60q", name, n, text)
			}
		}
	}
	broken := iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(plain)))
	for object := range Read(broken) {
		if _, err := object.TaskRun(); !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("got %v", err)
		}
	}
}

func TestEncodings(t *testing.T) {
	packed := pack(t, plain+"\n"+named("b"))
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"gzip":          {packed, []string{"ci/a", "ci/b"}},
		"gzip of YAML":  {pack(t, listY(plainY)), []string{"ci/a"}},
		"gzip, cut off": {packed[:len(packed)-12], []string{"ci/a", "ci/b", "damaged gzip file"}},
		"gzip, damaged": {
			packed[:len(packed)-8] + "\x00\x00\x00\x00" + packed[len(packed)-4:], []string{"ci/a", "ci/b", "damaged gzip file"},
		},
		"gzip of gzip":    {pack(t, packed), []string{"not plain YAML"}},
		"gzip, no data":   {"\x1f\x8b", []string{"damaged gzip file"}},
		"byte order":      {"\xef\xbb\xbf" + plain, []string{"ci/a"}},
		"UTF-16":          {"\xff\xfe{\x00}\x00", []string{"save it as UTF-8"}},
		"many members":    {pack(t, plain) + pack(t, named("b")), []string{"ci/a", "ci/b"}},
		"blanks in front": {" \n\t\n  " + plain, []string{"ci/a"}},
	} {
		compare(t, name, read(t, c.text), c.want)
	}
}

// zeros is an endless text of one byte.
type zeros byte

func (z zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(z)
	}
	return len(p), nil
}

// Reading endless input stops with an error.
func TestEndlessInput(t *testing.T) {
	bomb := pack(t, strings.Repeat(" ", maxInflatedFree+1<<20))
	for name, c := range map[string]struct {
		r    io.Reader
		want string
	}{
		"one string":   {io.MultiReader(strings.NewReader(`{"a":"`), zeros('x')), "the rest of the file was not read"},
		"escapes":      {io.MultiReader(strings.NewReader(`{"a":"`), zeros('\\')), "the rest of the file was not read"},
		"one number":   {io.MultiReader(strings.NewReader(`{"a":`), zeros('1')), "the rest of the file was not read"},
		"brackets":     {io.MultiReader(strings.NewReader(`{"a":`), io.LimitReader(zeros('['), 1<<20)), "invalid JSON"},
		"one line":     {zeros('x'), "the rest of the file was not read"},
		"zero bytes":   {zeros(0), "the rest of the file was not read"},
		"gzip of that": {strings.NewReader(bomb), "more than 200 times its size"},
	} {
		var got []string
		for object := range Read(c.r) {
			_, err := object.TaskRun()
			got = append(got, fmt.Sprint(err))
		}
		if len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: got %.300q, want %q", name, got, c.want)
		}
	}
}

func TestReadStopsWithItsReader(t *testing.T) {
	n := 0
	for range Read(io.MultiReader(strings.NewReader(strings.Repeat(plain+"\n", 10)), zeros('{'))) {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d objects", n)
	}
}
