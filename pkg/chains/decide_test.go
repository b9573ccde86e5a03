// SPDX-License-Identifier: Apache-2.0

package chains

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const uid = "0b8e4b2c"

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// run makes a Run from words: its state (held, released, refused, other for the marker of another object),
// what it is, and what it has.
func run(words string) Run {
	r := Run{Kind: "TaskRun", UID: uid, Annotations: map[string]string{}, Why: "it is bad"}
	for _, word := range strings.Fields(words) {
		switch word {
		case "held", "refused":
			r.Annotations[Marker], r.Annotations[Hold] = uid+": "+word, HoldValue
		case "released":
			r.Annotations[Marker] = uid + ": released"
		case "other":
			r.Annotations[Marker] = "1f6d: held"
		case "unhooked": // held, but someone removed the annotation
			r.Annotations[Marker] = uid + ": held"
		case "attested":
			r.Annotations[Hold] = "true"
		case "unattestable":
			r.Annotations[Hold] = "failed"
		case "complete":
			r.Complete, r.Completed = true, now.Add(-time.Minute)
		case "old":
			r.Complete, r.Completed = true, now.Add(-Patience)
		case "timeless":
			r.Complete = true
		case "future":
			r.Complete, r.Completed = true, now.Add(24*time.Hour)
		case "deleted":
			r.Deleted = now.Add(-10 * time.Second)
		case "deleted-long-ago":
			r.Deleted = now.Add(-DeletionPatience)
		case "good":
			r.Verdict = Good
		case "bad":
			r.Verdict = Bad
		case "kept":
			r.Finalizers = append(r.Finalizers, Finalizer)
		case "watched":
			r.Finalizers = append(r.Finalizers, "chains.tekton.dev/taskrun")
		default:
			panic(word)
		}
	}
	return r
}

// TestDecide tests the table of states: every action, and every state without an action.
func TestDecide(t *testing.T) {
	completed, deleted := now.Add(Patience-time.Minute), now.Add(DeletionPatience-10*time.Second)
	for _, tc := range []struct {
		run  string
		on   Decision
		off  Action
		note string
	}{
		{run: "", on: Decision{Action: Place}},
		{run: "other", on: Decision{Action: Place}, note: "Tekton copies annotations from a PipelineRun to its TaskRuns"},
		{run: "attested", on: Decision{Action: Place}, note: "written by hand: nothing is attested before its end"},
		{run: "unhooked kept", on: Decision{Action: Place}, off: Withdraw},
		{run: "released", on: Decision{Action: Place}, note: "its end was taken back"},
		{run: "refused", on: Decision{Action: Place}},
		{run: "held kept", off: Withdraw},
		{run: "held", off: Withdraw},

		{run: "deleted", note: "it never ends"},
		{run: "held kept deleted", on: Decision{Action: Forget}, off: Withdraw},
		{run: "held deleted", off: Withdraw},

		{run: "complete", note: "it ended before the gate came"},
		{run: "complete good attested"},
		{run: "complete bad kept", on: Decision{Action: Forget}, off: Forget},
		{run: "other complete kept", on: Decision{Action: Forget}, off: Forget},

		{run: "held kept complete", on: Decision{Again: completed}, off: Withdraw},
		{run: "held kept complete good", on: Decision{Action: Release}, off: Withdraw},
		{run: "held kept complete bad", on: Decision{Action: Refuse, Why: "it is bad"}, off: Withdraw},
		{run: "held kept complete deleted", on: Decision{Again: deleted}, off: Withdraw},
		{run: "held kept old", on: Decision{Action: Refuse, Why: "it was not judged in time"}, off: Withdraw},
		{run: "held kept old good", on: Decision{Action: Release}, off: Withdraw},
		{run: "held kept timeless", off: Withdraw},
		{run: "held kept future deleted", on: Decision{Again: deleted}, off: Withdraw},
		{
			run: "held kept future deleted-long-ago", on: Decision{Action: Refuse, Why: "it was not judged in time"},
			off:  Withdraw,
			note: "a forged time of completion does not block a deletion",
		},

		{run: "released complete good"},
		{run: "released complete good attested"},
		{run: "released kept complete good", on: Decision{Again: completed}, off: Forget},
		{run: "released kept complete good watched", on: Decision{Action: Forget}, off: Forget},
		{run: "released kept complete good attested", on: Decision{Action: Forget}, off: Forget},
		{run: "released kept complete good unattestable", on: Decision{Action: Forget}, off: Forget},
		{run: "released kept complete good deleted", on: Decision{Again: deleted}, off: Forget},
		{
			run: "released kept complete good deleted watched", on: Decision{Again: deleted}, off: Forget,
			note: "Chains may have seen it held",
		},
		{run: "released kept complete good deleted attested", on: Decision{Action: Forget}, off: Forget},
		{run: "released kept old good", on: Decision{Action: Forget}, off: Forget},
		{
			run: "released kept complete good deleted-long-ago", on: Decision{Action: Forget}, off: Forget,
			note: "nobody attests",
		},
		{
			run: "held kept complete deleted-long-ago", on: Decision{Action: Refuse, Why: "it was not judged in time"},
			off: Withdraw,
		},
		{run: "released complete bad", on: Decision{Action: Refuse, Why: "it is bad"}, note: "changed before Chains came"},
		{run: "released complete bad attested"},
		{run: "released kept complete bad attested", on: Decision{Action: Forget}, off: Forget},

		{run: "refused complete bad"},
		{run: "refused complete", note: "nobody says that it is good"},
		{run: "refused kept complete bad", on: Decision{Action: Forget}, off: Forget},
		{run: "refused complete good", on: Decision{Action: Release}, note: "judged late, or again"},
	} {
		t.Run(tc.run, func(t *testing.T) {
			r := run(tc.run)
			if diff := cmp.Diff(tc.on, Decide(r, true, now)); diff != "" {
				t.Errorf("%s, on (-want +got):\n%s", tc.note, diff)
			}
			if diff := cmp.Diff(Decision{Action: tc.off}, Decide(r, false, now)); diff != "" {
				t.Errorf("%s, off (-want +got):\n%s", tc.note, diff)
			}
		})
	}
}

// after applies a change as the API server does.
func after(r Run, c Change) Run {
	annotations := map[string]string{}
	for key, value := range r.Annotations {
		annotations[key] = value
	}
	for key, value := range c.Set {
		annotations[key] = value
	}
	for _, key := range c.Remove {
		delete(annotations, key)
	}
	r.Annotations, r.Finalizers = annotations, c.Finalizers
	return r
}

// allRuns returns all combinations of what Decide considers.
func allRuns() []string {
	all := []string{""}
	for _, words := range [][]string{
		{"", "held", "released", "refused", "other", "unhooked"}, {"", "complete", "old", "timeless", "future"},
		{"", "deleted", "deleted-long-ago"}, {"", "good", "bad"}, {"", "kept"}, {"", "watched"}, {"", "attested"},
	} {
		var more []string
		for _, before := range all {
			for _, word := range words {
				more = append(more, before+" "+word)
			}
		}
		all = more
	}
	return all
}

// TestDecideSettles checks for every state: after an action, at most one more action follows; the gate does
// not wait forever with an object that is being deleted; a gate that is off does not block deletions; and
// Chains never sees an object without a hold unless the object is good.
func TestDecideSettles(t *testing.T) {
	for _, words := range allRuns() {
		for _, on := range []bool{true, false} {
			r := run(words)
			for step := 0; ; step++ {
				d := Decide(r, on, now)
				if d.Action == Nothing {
					if r.has(Finalizer) && (!on || (!r.Deleted.IsZero() && d.Again.IsZero())) {
						t.Errorf("%q, on %v: the finalizer stays, %v", words, on, d)
					}
					break
				}
				if step == 2 {
					t.Errorf("%q, on %v: %s after two actions", words, on, d.Action)
					break
				}
				next := after(r, d.Change(r))
				if on && r.held() && !next.held() && r.State() != None && r.Verdict != Good {
					t.Errorf("%q: %s gives Chains what is not good", words, d.Action)
				}
				r = next
			}
			held := r.held() && r.State() == Held && (r.has(Finalizer) || strings.Contains(words, "held"))
			if on && !r.Complete && r.Deleted.IsZero() && !held {
				t.Errorf("%q: it runs and is not held: %v", words, r)
			}
		}
	}
}

func TestChange(t *testing.T) {
	for name, tc := range map[string]struct {
		run      string
		decision Decision
		want     Change
		patch    string
	}{
		"place": {"watched", Decision{Action: Place}, Change{
			Set:        map[string]string{Hold: "failed", Marker: uid + ": held"},
			Finalizers: []string{"chains.tekton.dev/taskrun", Finalizer},
		}, `{"metadata":{"annotations":{"chains.tekton.dev/signed":"failed","tekton-sign.dev/chains":"0b8e4b2c: held"},` +
			`"finalizers":["chains.tekton.dev/taskrun","tekton-sign.dev/chains"],"resourceVersion":"7","uid":"0b8e4b2c"}}`},
		"place, being deleted": {"deleted", Decision{Action: Place},
			Change{Set: map[string]string{Hold: "failed", Marker: uid + ": held"}},
			`{"metadata":{"annotations":{"chains.tekton.dev/signed":"failed","tekton-sign.dev/chains":"0b8e4b2c: held"},` +
				`"resourceVersion":"7","uid":"0b8e4b2c"}}`},
		"release": {"held kept watched complete good", Decision{Action: Release}, Change{
			Set: map[string]string{Marker: uid + ": released"}, Remove: []string{Hold},
			Finalizers: []string{"chains.tekton.dev/taskrun"},
		}, `{"metadata":{"annotations":{"chains.tekton.dev/signed":null,"tekton-sign.dev/chains":"0b8e4b2c: released"},` +
			`"finalizers":["chains.tekton.dev/taskrun"],"resourceVersion":"7","uid":"0b8e4b2c"}}`},
		"release, Chains has not come": {"held kept complete good", Decision{Action: Release}, Change{
			Set: map[string]string{Marker: uid + ": released"}, Remove: []string{Hold}, Finalizers: []string{Finalizer},
		}, `{"metadata":{"annotations":{"chains.tekton.dev/signed":null,"tekton-sign.dev/chains":"0b8e4b2c: released"},` +
			`"resourceVersion":"7","uid":"0b8e4b2c"}}`},
		"release, being deleted": {"held kept watched complete good deleted", Decision{Action: Release}, Change{
			Set: map[string]string{Marker: uid + ": released"}, Remove: []string{Hold},
			Finalizers: []string{Finalizer, "chains.tekton.dev/taskrun"},
		}, `{"metadata":{"annotations":{"chains.tekton.dev/signed":null,"tekton-sign.dev/chains":"0b8e4b2c: released"},` +
			`"resourceVersion":"7","uid":"0b8e4b2c"}}`},
		"refuse": {"held kept complete bad", Decision{Action: Refuse, Why: "why"}, Change{
			Set: map[string]string{Hold: "failed", Marker: uid + ": refused, why"}, Finalizers: []string{},
		},
			`{"metadata":{"annotations":{"chains.tekton.dev/signed":"failed",` +
				`"tekton-sign.dev/chains":"0b8e4b2c: refused, why"},` +
				`"finalizers":[],"resourceVersion":"7","uid":"0b8e4b2c"}}`},
		"forget": {"refused kept", Decision{Action: Forget}, Change{Finalizers: []string{}},
			`{"metadata":{"finalizers":[],"resourceVersion":"7","uid":"0b8e4b2c"}}`},
		"withdraw": {"held kept", Decision{Action: Withdraw}, Change{Remove: []string{Hold, Marker}, Finalizers: []string{}},
			`{"metadata":{"annotations":{"chains.tekton.dev/signed":null,"tekton-sign.dev/chains":null},` +
				`"finalizers":[],"resourceVersion":"7","uid":"0b8e4b2c"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(tc.run)
			r.ResourceVersion = "7"
			before := slices.Clone(r.Finalizers)
			got := tc.decision.Change(r)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("change (-want +got):\n%s", diff)
			}
			patch, err := got.MergePatch(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.patch, string(patch)); diff != "" {
				t.Errorf("merge patch (-want +got):\n%s", diff)
			}
			if !slices.Equal(before, r.Finalizers) {
				t.Errorf("the finalizers of the object were changed: %v", r.Finalizers)
			}
		})
	}
}

func TestJSONPatch(t *testing.T) {
	r := run("")
	got := Decision{Action: Place}.Change(r).JSONPatch(map[string]string{"a": "b", Hold: "true"})
	want := []Operation{
		{"add", "/metadata/annotations", map[string]string{"a": "b", Hold: "failed", Marker: uid + ": held"}},
		{"add", "/metadata/finalizers", []string{Finalizer}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON patch (-want +got):\n%s", diff)
	}
}
