// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// The table is complete: each check has an ID of its own, words, and a section in the docs.
func TestChecks(t *testing.T) {
	docs, err := os.ReadFile("../../docs/preflight.md")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^TS[0-9]{3}$`)
	seen := map[ID]bool{}
	for _, c := range Checks() {
		if !form.MatchString(string(c.ID)) || seen[c.ID] {
			t.Errorf("%s: the ID has another form, or is not the check's own", c.ID)
		}
		seen[c.ID] = true
		if c.Title == "" || c.Why == "" || c.Fix == "" || c.Run == nil || !slices.Contains(Groups(), c.Group) {
			t.Errorf("%s is incomplete", c.ID)
		}
		if !strings.Contains(string(docs), "\n### "+string(c.ID)+"\n") {
			t.Errorf("%s has no section in docs/preflight.md", c.ID)
		}
		if want := "#" + strings.ToLower(string(c.ID)); !strings.HasSuffix(c.Docs(), want) {
			t.Errorf("%s: got %s, want a link that ends in %s", c.ID, c.Docs(), want)
		}
	}
	if len(seen) < 30 {
		t.Errorf("got %d checks", len(seen))
	}
}

func TestSelect(t *testing.T) {
	all := []Check{
		{ID: "TS001", Group: GroupCluster}, {ID: "TS002", Group: GroupCluster}, {ID: "TS101", Group: GroupTekton},
	}
	for _, tc := range []struct {
		name       string
		only, skip []string
		want       string // IDs, or part of the error
		fails      bool
	}{
		{name: "everything", want: "TS001 TS002 TS101"},
		{name: "a group", only: []string{"cluster"}, want: "TS001 TS002"},
		{name: "an ID in small letters", only: []string{"ts002"}, want: "TS002"},
		{name: "a group and an ID", only: []string{"tekton", "TS001"}, want: "TS001 TS101"},
		{name: "all but one", skip: []string{"TS002"}, want: "TS001 TS101"},
		{name: "a group without one", only: []string{"cluster"}, skip: []string{"TS001"}, want: "TS002"},
		{name: "none is left", only: []string{"TS001"}, skip: []string{"cluster"}, want: "no check is left", fails: true},
		{name: "unknown in only", only: []string{"TS9"}, want: `got "TS9"`, fails: true},
		{name: "unknown in skip", skip: []string{"x"}, want: `got "x"`, fails: true},
	} {
		got, err := Select(all, tc.only, tc.skip)
		if tc.fails {
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want an error with %q", tc.name, err, tc.want)
			}
			continue
		}
		var ids []string
		for _, c := range got {
			ids = append(ids, string(c.ID))
		}
		if err != nil || strings.Join(ids, " ") != tc.want {
			t.Errorf("%s: got %v and %v, want %s", tc.name, ids, err, tc.want)
		}
	}
}

func finds(found ...verify.Status) func(context.Context, *Facts) []status.Check {
	return func(context.Context, *Facts) []status.Check {
		var checks []status.Check
		for _, s := range found {
			checks = append(checks, status.Check{Status: s, Message: string(s)})
		}
		return checks
	}
}

// A check is as bad as the worst of its findings. A status that is not known is the worst.
func TestStates(t *testing.T) {
	for _, tc := range []struct {
		found []verify.Status
		want  State
	}{
		{nil, Passed},
		{[]verify.Status{verify.Pass, verify.Note}, Passed},
		{[]verify.Status{verify.Pass, verify.Warn}, Warning},
		{[]verify.Status{verify.Warn, verify.Unknown, verify.Pass}, Unknown},
		{[]verify.Status{verify.Unknown, verify.Fail, verify.Warn}, Failed},
		{[]verify.Status{verify.Missing}, Failed},
		{[]verify.Status{"something else"}, Failed},
	} {
		r := Check{ID: "TS001", Run: finds(tc.found...)}.result(t.Context(), &Facts{})
		if r.State != tc.want || len(r.Findings) != len(tc.found) {
			t.Errorf("%v: got %s with %d findings, want %s", tc.found, r.State, len(r.Findings), tc.want)
		}
	}
}

func TestRun(t *testing.T) {
	checks := []Check{
		{ID: "TS003", Run: func(context.Context, *Facts) []status.Check {
			time.Sleep(20 * time.Millisecond)
			return nil
		}},
		{ID: "TS001", Run: finds(verify.Fail)},
		{ID: "TS002", Run: finds(verify.Fail), Skip: func(*Facts) string { return "not here" }},
	}
	var steps []int
	results := Run(t.Context(), &Facts{}, checks, func(done, all int, _ Result) {
		if all != len(checks) {
			t.Errorf("got %d checks", all)
		}
		steps = append(steps, done)
	})
	var got []string
	for _, r := range results {
		got = append(got, strings.TrimSpace(string(r.ID)+" "+string(r.State)+" "+r.Reason))
	}
	want := []string{"TS003 passed", "TS001 failed", "TS002 skipped not here"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, steps); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if results[0].Milliseconds < 20 {
		t.Errorf("got %d ms", results[0].Milliseconds)
	}
}

// Nothing but passed checks is success.
func TestConclude(t *testing.T) {
	for _, tc := range []struct {
		states []State
		want   Outcome
		text   string
	}{
		{[]State{Passed, Skipped}, Ready, "this cluster is ready for x: 1 passed, 1 skipped"},
		{[]State{Passed, Warning}, Drawbacks, "ready for x, with drawbacks: 1 with a warning, 1 passed"},
		{[]State{Passed, Warning, Unknown}, Undecided, "some checks could not be made: 1 unknown"},
		{[]State{Unknown, Failed}, NotReady, "this cluster is not ready for x: 1 failed, 1 unknown"},
		{[]State{Skipped}, Undecided, "some checks could not be made: 1 skipped"},
		{[]State{"something else"}, NotReady, "not ready"},
		{nil, Undecided, "some checks could not be made"},
	} {
		r := Report{Backend: "x"}
		for _, s := range tc.states {
			r.Checks = append(r.Checks, Result{State: s})
		}
		r.Conclude()
		if r.Outcome != tc.want || !strings.Contains(r.String(), tc.text) {
			t.Errorf("%v: got %s: %s, want %s: %s", tc.states, r.Outcome, &r, tc.want, tc.text)
		}
	}
}
