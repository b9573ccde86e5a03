// SPDX-License-Identifier: Apache-2.0

//go:build !race

package corpus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/test/corpus"
)

var (
	update = flag.Bool("update", false, "write testdata/cases.txt")
	seed   = flag.Uint64("seed", 1, "seed of the corpus")
)

// cases makes the cases once, because keys and signatures take time.
var cases = sync.OnceValues(func() ([]corpus.Case, error) { return corpus.Generate(*seed) })

// atLeast is the minimum number of cases.
const atLeast = 200

// TestList compares the names and the answers with the reviewed list.
func TestList(t *testing.T) {
	all, err := cases()
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		seen[c.Name] = true
		fmt.Fprintf(&list, "%d\t%s\t%s\t%s\n", c.Want.Exit, c.Want.Verdict, c.Want.Check, c.Name)
	}
	if len(all) < atLeast {
		t.Errorf("%d cases, want at least %d", len(all), atLeast)
	}
	golden := filepath.Join("testdata", "cases.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(list.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), list.String()); diff != "" {
		t.Errorf("the list of cases has changed (-want +got), review and run go test ./test/corpus -update:\n%s", diff)
	}
}

// output is the output of one run of the command.
type output struct {
	exit           int
	stdout, stderr string
}

// run verifies a case with the command itself.
func run(t testing.TB, dir string, c corpus.Case, format string) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr}
	args := []string{
		"verify", "--offline", "-f", filepath.Join(dir, "case"), "--trust-bundle", filepath.Join(dir, "bundle"), "-o", format,
	}
	if !c.Plain {
		args = append(args, "--allow-unrecorded")
	}
	exit := cli.Run(context.Background(), "kubectl-tekton_sign", append(args, c.Args...), streams)
	return output{exit, stdout.String(), stderr.String()}
}

// place writes a case's files to a new folder.
func place(t testing.TB, c corpus.Case) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "corpus") // not TempDir, whose name contains the case's name: -f splits at commas
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, data := range map[string][]byte{"case": c.File, "bundle": c.Bundle} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCorpus checks for every case its verdict, the check that prevents VERIFIED, the same exit code in every
// format, and that the output does not deceive.
func TestCorpus(t *testing.T) {
	all, err := cases()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range all {
		formats := []string{"table"}
		if i%10 == 0 { // the exit code is computed in the same way for all formats
			formats = append(formats, "wide", "name", "yaml")
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			dir := place(t, c)
			judge(t, c.Want, run(t, dir, c, "json"))
			for _, format := range formats {
				out := run(t, dir, c, format)
				if out.exit != c.Want.Exit {
					t.Errorf("-o %s: exit code %d, want %d\n%s", format, out.exit, c.Want.Exit, out.stderr)
				}
				safe(t, "-o "+format+": standard error", out.stderr)
				if format != "yaml" {
					safe(t, "-o "+format+": standard output", out.stdout)
				}
				if format == "table" {
					lastLine(t, c.Want, out.stdout)
					showsOutcome(t, c.Want, out.stdout)
				}
			}
		})
	}
}

// judge compares the report with the answer.
func judge(t *testing.T, want corpus.Want, out output) {
	t.Helper()
	if out.exit != want.Exit {
		t.Errorf("exit code %d, want %d\n%s", out.exit, want.Exit, out.stderr)
	}
	var r report.Report
	decoder := json.NewDecoder(strings.NewReader(out.stdout))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		if want.Check != "input" || want.Verdict != "" {
			t.Errorf("the report cannot be read: %v\n%.1000s", err, out.stdout)
		}
		return
	}
	var worst verify.Verdict
	stood := want.Check == ""
	for _, item := range r.Items {
		worst = verify.Worse(item.Verdict, max(worst, item.Verdict))
		stood = stood || slices.ContainsFunc(item.Checks, func(c verify.Check) bool {
			return c.ID == want.Check && (c.Status == verify.Fail || c.Status == verify.Unknown || c.Status == verify.Missing)
		})
	}
	if want.Check == "input" {
		stood = len(r.Errors) > 0
	}
	if want.Verdict != "*" && worst != want.Verdict {
		t.Errorf("verdict %q, want %q\n%.2000s", worst, want.Verdict, out.stdout)
	}
	if !stood && want.Verdict != verify.NoResults {
		t.Errorf("no check %q stood in the way\n%.2000s", want.Check, out.stdout)
	}
	wellExplained(t, r)
}

// wellExplained checks that every failure has what was expected and what was found.
func wellExplained(t *testing.T, r report.Report) {
	t.Helper()
	for _, item := range r.Items {
		if item.Verdict != verify.Verified && item.Verdict != verify.NoResults && item.Message == "" {
			t.Errorf("%s without a message", item.Verdict)
		}
		for _, c := range item.Checks {
			if c.Status == verify.Fail && (c.Expected == "" || c.Got == "" || c.Message == "") {
				t.Errorf("a failed check does not say everything: %+v", c)
			}
		}
	}
}

// safe checks that text has no control characters and no invisible characters.
func safe(t *testing.T, where, text string) {
	t.Helper()
	marks := 0
	for _, r := range text {
		if unicode.IsMark(r) {
			marks++
		} else {
			marks = 0
		}
		ok := r == '\n' || unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) || r == ' '
		if !ok || r == unicode.ReplacementChar || marks > 2 {
			t.Errorf("%s holds %U: %.500q", where, r, text)
			return
		}
	}
}

// lastLine checks that the last line has the verdict of a single TaskRun, and that no other line has one.
func lastLine(t *testing.T, want corpus.Want, table string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	last := lines[len(lines)-1]
	if want.Verdict == "" || want.Verdict == "*" {
		return
	}
	if !strings.Contains(last, string(want.Verdict)) {
		t.Errorf("the last line does not say %s: %q", want.Verdict, last)
	}
	if want.Verdict == verify.Verified {
		return
	}
	for _, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "✓ "+string(verify.Verified)) &&
			!strings.Contains(last, "TaskRuns:") {
			t.Errorf("a line says VERIFIED: %q", line)
		}
	}
}

// showsOutcome checks that the table shows the TaskRun's own condition, how many steps left evidence and, for
// VERIFIED, what is not covered. In a table of several TaskRuns, one that succeeded with evidence of every
// step is only a row.
func showsOutcome(t *testing.T, want corpus.Want, table string) {
	t.Helper()
	if want.Verdict == "" || want.Verdict == "*" {
		return
	}
	if several := strings.Contains(table, "VERDICT "); !several && !outcomeLine.MatchString(table) {
		t.Errorf("nothing says how the TaskRun ended and what left evidence:\n%s", table)
	}
	if verifiedLine.MatchString(table) && !coverLine.MatchString(table) {
		t.Errorf("nothing says what VERIFIED does not cover:\n%s", table)
	}
}

var (
	outcomeLine  = regexp.MustCompile(`(?m)^ *(Succeeded=.+|no condition Succeeded), evidence: \d+ of (no|\d+) steps?$`)
	verifiedLine = regexp.MustCompile(`(?m)^ *✓ VERIFIED`)
	coverLine    = regexp.MustCompile(`not cover(ed:)? images, parameters, workspaces`)
)

// TestSameSeedSameCases checks that the corpus does not change from run to run.
func TestSameSeedSameCases(t *testing.T) {
	first, err := cases()
	if err != nil {
		t.Fatal(err)
	}
	second, err := corpus.Generate(*seed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first {
		if first[i].Name != second[i].Name || first[i].Want != second[i].Want {
			t.Fatalf("case %d is once %q and once %q", i, first[i].Name, second[i].Name)
		}
	}
}
