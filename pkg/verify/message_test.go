// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
)

// deflated returns text as a compressed message.
func deflated(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return tekton.CompressedPrefix + base64.RawStdEncoding.EncodeToString(b.Bytes())
}

// entry is one entry of a message.
func entry(key string, kind int) string {
	return fmt.Sprintf(`{"key":%q,"value":"v","type":%d}`, key, kind)
}

// entriesOf returns a message of n entries.
func entriesOf(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = entry(fmt.Sprintf("k%05d", i), 1)
	}
	return "[" + strings.Join(list, ",") + "]"
}

func TestParseStored(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		entries int
	}{
		"empty":      {"", 0},
		"every kind": {"[" + entry("a", 1) + "," + entry("b", 4) + "," + entry("c", 5) + "," + entry("d", 6) + "]", 4},
		"as many":    {entriesOf(maxEntries), maxEntries},
		"compressed": {deflated(t, entriesOf(3)), 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseStored(c.message); err != nil || len(got) != c.entries {
				t.Errorf("%d entries, %v; want %d", len(got), err, c.entries)
			}
		})
	}
}

// Each message breaks one rule of what Tekton stores.
func TestParseStoredRefuses(t *testing.T) {
	list := func(entries ...string) string { return "[" + strings.Join(entries, ",") + "]" }
	valid := deflated(t, entriesOf(3))
	for name, c := range map[string]struct{ message, mentions string }{
		"no entries":             {"[]", "1 to 4096"},
		"too many bytes":         {strings.Repeat(" ", maxMessages) + entriesOf(1), "at most 1048576 bytes"},
		"too many entries":       {entriesOf(maxEntries + 1), "1 to 4096 entries"},
		"null":                   {"null", ""},
		"an object":              {entry("a", 1), ""},
		"a null entry":           {"[null]", ""},
		"plain text":             {"Step a was cancelled", ""},
		"truncated":              {entriesOf(3)[:40], ""},
		"truncated, then closed": {entriesOf(3)[:40] + `"}]`, ""},
		"trailing data":          {entriesOf(1) + "[]", ""},
		"a second document":      {entriesOf(1) + "\n" + entriesOf(1), ""},
		"key twice":              {list(entry("a", 1), entry("a", 1)), "unique"},
		"key twice, two kinds":   {list(entry("a", 1), entry("a", 4)), "unique"},
		"unsorted":               {list(entry("b", 1), entry("a", 1)), "order"},
		"sorted by letters":      {list(entry("a", 1), entry("B", 1)), "order"},
		"member twice":           {`[{"key":"a","key":"a","value":"v","type":1}]`, ""},
		"member of another case": {`[{"Key":"a","value":"v","type":1}]`, ""},
		"unknown member":         {`[{"key":"a","value":"v","type":1,"more":1}]`, ""},
		"kind 0":                 {list(entry("a", 0)), "unknown type 0"},
		"kind 2":                 {list(entry("a", 2)), "unknown type 2"},
		"kind 3, internal":       {list(entry("a", 3)), "unknown type 3"},
		"kind 7":                 {list(entry("a", 7)), "unknown type 7"},
		"negative kind":          {list(entry("a", -1)), "unknown type -1"},
		"kind by name":           {`[{"key":"a","value":"v","type":"TaskRunResult"}]`, ""},
		"kind with a fraction":   {`[{"key":"a","value":"v","type":1.5}]`, ""},
		"kind beyond integers":   {`[{"key":"a","value":"v","type":4294967297000000000000}]`, ""},
		"no kind":                {`[{"key":"a","value":"v"}]`, "unknown type 0"},
		"value no string":        {`[{"key":"a","value":["v"],"type":1}]`, ""},
		"control character":      {"[{\"key\":\"a\",\"value\":\"\n\",\"type\":1}]", ""},
		"byte order mark":        {"\ufeff" + entriesOf(1), ""},
		"deep":                   {strings.Repeat("[", 5000) + strings.Repeat("]", 5000), ""},
		"compressed twice":       {deflated(t, valid), ""},
		"compressed: bomb":       {deflated(t, strings.Repeat(" ", 1<<20)+entriesOf(1)), "more than 131072"},
		"compressed: nothing":    {tekton.CompressedPrefix, ""},
		"compressed: no base64":  {tekton.CompressedPrefix + "!", "decoding"},
		"compressed: padded":     {valid + "==", "decoding"},
		"compressed: lines":      {valid[:20] + "\n" + valid[20:], "decoding"},
		"compressed: no flate":   {tekton.CompressedPrefix + "aGVsbG8", "inflating"},
		"compressed: truncated":  {valid[:len(valid)-8], ""},
		"compressed: trailing":   {valid[:len(valid)/4*4] + "AAAA", ""},
		"compressed: other case": {"TKNZ:" + strings.TrimPrefix(valid, tekton.CompressedPrefix), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStored(c.message)
			if err == nil {
				t.Fatalf("accepted as %v", got)
			}
			if !strings.Contains(err.Error(), c.mentions) {
				t.Errorf("the error %q does not mention %q", err, c.mentions)
			}
		})
	}
}

// Tekton reads every accepted message in the same way.
func FuzzParseStored(f *testing.F) {
	for _, s := range []string{
		"", "[]", "null", `[{"key":"a","value":"b","type":1}]`,
		`[{"key":"a","value":"\ud800","type":4},{"key":"b","value":"","type":6}]`,
		`[{"key":"b","value":"","type":1},{"key":"a","value":"","type":1}]`,
		`[{"key":"a","value":"","type":"TaskRunResult"}]`,
		"tknz:", "tknz:i44FAA", "tknz:i65WyiypTFWyUkpUqlUqSUzKSS1JBQpAuUA5oEBtLAA",
	} {
		f.Add(s)
	}
	logger := zap.NewNop().Sugar()
	f.Fuzz(func(t *testing.T, message string) {
		got, err := parseStored(message)
		if err != nil {
			return
		}
		want, err := termination.ParseMessage(logger, message)
		if err != nil {
			t.Fatalf("accepted, but Tekton says: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Tekton reads it differently (-Tekton +here):\n%s", diff)
		}
	})
}

// The strict parser reads what the fast one accepts in the same way.
func FuzzParsePlain(f *testing.F) {
	for _, s := range []string{
		"[]", `[{"key":"a","value":"b","type":1}]`,
		`[{"key":"a","value":"\"\\ \u003c\ud800","type":4},{"key":"b","value":"","type":6}]`,
		`[{"key":"a","value":"\x","type":1}]`, `[{"key":"a","value":"b","type":12}]`, `[{"key":"a","value":"b","type":1},]`,
		`[{"key":"a","value":"ü","type":1}]`, `[ {"key":"a","value":"b","type":1}]`, `[{"key":"a","value":"b\`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		got, ok := parsePlain([]byte(message))
		if !ok {
			return
		}
		var want []storedEntry
		if err := strictjson.Decode([]byte(message), &want); err != nil {
			t.Fatalf("accepted, but the strict parser says: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the strict parser reads it differently (-strict +plain):\n%s", diff)
		}
	})
}

func TestParsePlainTakesWhatTektonWrites(t *testing.T) {
	entries := []storedEntry{{"a", `["x","<y>"]`, 1}, {"b", "two\nlines", 4}, {"c", "", 5}}
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := parsePlain(text)
	if diff := cmp.Diff(entries, got); !ok || diff != "" {
		t.Errorf("%v, %s (-want +got):\n%s", ok, text, diff)
	}
}
