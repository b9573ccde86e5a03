// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

const image = "registry.example.com/signer:v1"

var since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func encoded(t *testing.T, e Exception) string {
	t.Helper()
	value, err := e.encode()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestParse(t *testing.T) {
	refused := Exception{Delivery: None, Reason: "no image volumes here", Image: image, Since: since}
	unmounted := refused
	unmounted.Node = "node-1.example"
	byInit := Exception{Delivery: settings.DeliveryInit, Image: image, Since: since}
	table := Parse(map[string]string{
		"a.trial":   encoded(t, byInit),
		"b.trial":   encoded(t, byInit),
		"b.start":   encoded(t, refused),
		"m.start":   encoded(t, byInit),
		"m.refusal": encoded(t, refused),
		"c.start":   encoded(t, Exception{Delivery: None, Image: "another:v1", Since: since}),
		"c.refused": "2026-01-02T03:04:05Z",
		"d.trial":   `{"delivery":"none","reason":"","image":"i","since":"2026-01-02T03:04:05Z","more":1}`,
		"e.trial":   `{"delivery":"auto","reason":"","image":"i","since":"2026-01-02T03:04:05Z"}`,
		"f.trial":   `{"delivery":"none","reason":"","image":"","since":"2026-01-02T03:04:05Z"}`,
		"g.trial": `{"delivery":"none","reason":"` + strings.Repeat("x", MaxReason+1) +
			`","image":"i","since":"2026-01-02T03:04:05Z"}`,
		"h.trial": `{"delivery":"none","Delivery":"init","image":"i","since":"2026-01-02T03:04:05Z"}`,
		"i.trial": strings.Repeat(" ", maxValue) + "{}",
		"j.else":  "{}",
		"k":       "{}",
		"L.trial": encoded(t, refused),
		"n.mount": encoded(t, unmounted), "n.refusal": encoded(t, refused),
		"n.u-1.once": encoded(t, unmounted), "p.u-2.once": encoded(t, unmounted),
		"p.u-2.mount": encoded(t, unmounted), "p.once": encoded(t, unmounted), "p..once": encoded(t, unmounted),
		"p.a.b.once": encoded(t, unmounted),
		"o.mount":    `{"delivery":"none","reason":"","image":"i","since":"2026-01-02T03:04:05Z","node":"../a"}`,
	})
	for namespace, want := range map[string]Entry{
		"a": {"a", Trial, byInit},
		"b": {"b", Start, refused}, // None takes precedence
		"m": {"m", Refusal, refused},
		"n": {"n", Mount, unmounted},
		"o": {},
		"c": {}, // another image
		"d": {}, "e": {}, "f": {}, "g": {}, "h": {}, "i": {}, "z": {},
	} {
		got, ok := table.For(namespace, image)
		if diff := cmp.Diff(want, got); diff != "" || ok != (want.Namespace != "") {
			t.Errorf("namespace %s (%t): %s", namespace, ok, diff)
		}
	}
	if diff := cmp.Diff([]string{"c"}, table.Refused()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"node-1.example"}, table.Nodes()); diff != "" {
		t.Error(diff)
	}
	var keys []string
	for _, e := range table.Entries() {
		keys = append(keys, e.id().key())
	}
	if diff := cmp.Diff([]string{"a.trial", "b.start", "b.trial", "c.start", "m.refusal", "m.start", "n.mount",
		"n.u-1.once", "n.refusal", "p.u-2.once"}, keys); diff != "" {
		t.Error(diff)
	}
	var named []string
	for _, line := range table.Unreadable() {
		named = append(named, strings.Fields(line)[1])
	}
	want := []string{"L.trial:", "d.trial:", "e.trial:", "f.trial:", "g.trial:", "h.trial:", "i.trial:", "j.else:", "k:",
		"o.mount:", "p..once:", "p.a.b.once:", "p.once:", "p.u-2.mount:"}
	if diff := cmp.Diff(want, named); diff != "" {
		t.Error(diff)
	}
}

// TestForTaskRun: an exception of one TaskRun leaves the pods of others as they are.
func TestForTaskRun(t *testing.T) {
	byInit := Exception{Delivery: settings.DeliveryInit, Image: image, Since: since}
	alone := Exception{Delivery: None, Image: image, Since: since, Node: "node-1"}
	old := alone
	old.Image = "another:v1"
	table := Parse(map[string]string{
		"a.u.once": encoded(t, alone), "b.u.once": encoded(t, alone), "b.trial": encoded(t, byInit),
		"c.u.once": encoded(t, alone), "c.trial": encoded(t, alone), "d.u.once": encoded(t, old),
	})
	for name, tc := range map[string]struct {
		namespace string
		taskRun   types.UID
		want      Source
	}{
		"its own": {"a", "u", Once}, "another": {"a", "v", ""}, "no TaskRun": {"a", "", ""},
		"before another way": {"b", "u", Once}, "another's way": {"b", "v", Trial},
		"after the namespace's": {"c", "u", Trial}, "another image": {"d", "u", ""},
	} {
		got, ok := table.ForTaskRun(tc.namespace, tc.taskRun, image)
		if got.Source != tc.want || ok != (tc.want != "") || tc.want == Once && got.TaskRun != tc.taskRun {
			t.Errorf("%s: got %+v, %t", name, got, ok)
		}
	}
	if e, ok := table.For("a", image); ok {
		t.Errorf("the whole namespace has exception %+v", e)
	}
}

func TestEncodeCuts(t *testing.T) {
	e := Exception{Delivery: None, Reason: strings.Repeat("ö", MaxReason), Image: image,
		Since: since.Add(time.Millisecond)}
	got, err := parseException(encoded(t, e))
	want := Exception{Delivery: None, Reason: strings.Repeat("ö", MaxReason/2), Image: image, Since: since}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := (Exception{Delivery: settings.DeliveryAuto, Image: image}).encode(); err == nil {
		t.Error("delivery auto was encoded")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a.trial", `{"delivery":"none","reason":"r","image":"i","since":"2026-01-02T03:04:05Z"}`)
	f.Add("a.refused", "")
	f.Fuzz(func(t *testing.T, key, value string) {
		table := Parse(map[string]string{key: value})
		if n := len(table.Entries()) + len(table.Refused()) + len(table.Unreadable()); n != 1 {
			t.Errorf("one key was counted %d times", n)
		}
		for _, e := range table.Entries() {
			if again, err := parseException(encoded(t, e.Exception)); err != nil || again.Delivery != e.Delivery {
				t.Errorf("%+v does not survive: %v", e, err)
			}
		}
	})
}
