// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/test/e2e/internal/hide"
	"github.com/tekton-sign/kubectl-tekton-sign/test/e2e/internal/testlog"
)

// suiteSelector matches the namespaces that Tekton's tests make.
const suiteSelector = "tekton.dev/test-e2e=true"

// suiteGolden holds how each of Tekton's tests ends with enforcement on.
const suiteGolden = "testdata/tekton-suite.txt"

// How a test of Tekton's ends, as in the golden file.
const (
	suitePass    = "pass"
	suiteTooLong = "too-long" // evidence does not fit beside its results, and enforcement refuses it for that
	suiteFail    = "FAIL"     // in no golden file
)

// exclusion is a kind of Tekton's tests that are not run.
type exclusion struct {
	tests  string // regular expression, as -test.skip takes it
	reason string
}

// suiteExclusions are the tests that need what a cluster without a network lacks, and those that do what a policy
// refuses by design.
var suiteExclusions = []exclusion{
	{"^Test(Git|Hub|Http|Cluster)Resolver", "resolver: the cluster runs none, and most of them fetch from the internet"},
	{"^Test(BundleResolver|ResolverCache|TektonBundles)", "registry: bundles are pushed to one and fetched from it"},
	{"^TestPipelineRun_PinP_ChildPipelineViaClusterResolver$", "resolver: the cluster runs none"},
	{"^TestTrustedResourcesVerify_", "resolver: the cluster runs none"},
	{"^TestProvenanceFieldInPipelineRunTaskRunStatus$", "resolver: the cluster runs none"},
	{"^TestTaskRunResolveDefaultParameterSubstitutionOnStepAction$", "resolver: the cluster runs none"},
	{"^TestGit(SSH)?Credentials_", "registry: the image of a git server"},
	{"^TestTaskRunStatus$", "image: compares its digest with that of the registry"},
	{"^TestAffinityAssistant_PerPipelineRun$",
		"image: a step without a command, whose image Tekton looks up in a registry"},
	{"^TestWorkingDir(Created|IgnoredNonSlashWorkspace)$",
		"image: a step without a command, whose image Tekton looks up in a registry"},
	{"^TestTaskRunFailure$", "release: asks for the annotation of a development or nightly release of Tekton"},
	{"^TestHermeticTaskRun$", "network: one of its steps must reach the internet"},
	{"^TestWaitCustomTask_", "registry: builds the image of a controller and pushes it"},
	{"^Test(CustomTask|PipelineRunCustomTaskTimeout)$",
		"policy: writes the status of a CustomRun as a user; --custom-run-controller names service accounts"},
}

// suiteRun is one run of the tests' binary.
type suiteRun struct {
	flags    map[string]string // of Tekton
	category string            // of tests, as Tekton's CI tells them apart
	only     func(outcomes map[string]string) []string
}

// suiteRuns cover the tests that are for one set of flags only: Tekton skips them in the others.
var suiteRuns = []suiteRun{
	{flags: suiteAlpha, category: "serial"},
	{flags: suiteAlpha, category: "parallel"},
	{flags: map[string]string{"enable-api-fields": "beta", "results-from": "sidecar-logs"}, only: skippedTests},
}

var suiteAlpha = map[string]string{
	"enable-api-fields": "alpha", "enable-artifacts": "true", "enable-param-enum": "true",
	"enable-cel-in-whenexpression": "true",
}

// TestNightlyTektonSuite runs Tekton's own end-to-end tests, those that need no network, with enforcement in each
// of their namespaces. They see the cluster through a client that hides what the add-on adds, and nothing else. How
// each ends is compared with suiteGolden, where UPDATE_GOLDEN=1 writes it. TEKTON_SUITE_RUN is a regular expression
// for a part of the tests. With TEKTON_SUITE=stock they run without the add-on, which shows whether a test fails
// for the cluster's reasons.
func TestNightlyTektonSuite(t *testing.T) {
	c := open(t)
	s := newSuite(t)
	label, value, _ := strings.Cut(suiteSelector, "=")
	c.standIn(t, &metav1.LabelSelector{MatchLabels: map[string]string{label: value}})
	stock := os.Getenv("TEKTON_SUITE") == "stock"
	if !stock {
		c.enableIn(t, "--namespace-selector", suiteSelector, "--enforcement", "enforce")
	}
	t.Cleanup(func() { c.deleteSuiteNamespaces(t) })
	c.provisionAlways(t)
	c.allowLogs(t) // for the tests that set results-from: sidecar-logs
	s.connect(t, c)
	verdicts := c.watchVerdicts(t)

	only := os.Getenv("TEKTON_SUITE_RUN")
	got := map[string]string{}
	for _, run := range suiteRuns {
		c.setFlags(t, run.flags)
		for name, outcome := range s.run(t, run, only, got) {
			if got[name] == "" || !strings.HasPrefix(outcome, "skip: ") {
				got[name] = outcome
			}
		}
	}
	want := readSuiteGolden(t)
	if only != "" {
		maps.DeleteFunc(want, func(name, _ string) bool { return got[name] == "" })
	} else {
		s.addExcluded(t, got)
	}
	logFigures(t, got)
	if !stock {
		checkVerdicts(t, verdicts())
	}
	if os.Getenv("UPDATE_GOLDEN") != "" && !stock {
		writeSuiteGolden(t, got)
		return
	}
	if stock {
		maps.DeleteFunc(want, func(name, outcome string) bool { return outcome == suiteTooLong && got[name] == suitePass })
		maps.DeleteFunc(got, func(name, _ string) bool { return want[name] == "" })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Tekton's tests end in another way (-want +got):\n%s", diff)
	}
}

// suite is the binary of Tekton's tests.
type suite struct {
	folder     string // in which it runs
	binary     string
	kubeconfig string
	path       string
}

// newSuite builds the tests from Tekton's own module, with the versions of everything that Tekton itself tests with.
func newSuite(t *testing.T) *suite {
	t.Helper()
	module := tektonModule(t)
	s := &suite{folder: filepath.Join(module, "test"), binary: filepath.Join(t.TempDir(), "suite.test")}
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-trimpath", "-tags", "e2e", "-o", s.binary, "./test")
	build.Dir, build.Env = module, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building Tekton's tests: %v\n%s", err, out)
	}
	return s
}

// connect makes the tests see the cluster without what is ours.
func (s *suite) connect(t *testing.T, c *cluster) {
	t.Helper()
	proxy, err := hide.NewProxy(c.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	s.kubeconfig, s.path = filepath.Join(t.TempDir(), "kubeconfig"), c.path
	if err := proxy.WriteKubeconfig(s.kubeconfig); err != nil {
		t.Fatal(err)
	}
}

// tests returns the names of all top-level tests.
func (s *suite) tests(t *testing.T) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), s.binary, "-test.list", "^Test", "-category", "parallel")
	list.Dir = s.folder
	out, err := list.Output()
	if err != nil {
		t.Fatalf("listing Tekton's tests: %v", err)
	}
	names := strings.Fields(string(out))
	if len(names) < 100 {
		t.Fatalf("Tekton has %d tests, want more than 100", len(names))
	}
	return names
}

// run runs the tests of one run, those that match only if it is not empty, and returns how they ended.
func (s *suite) run(t *testing.T, run suiteRun, only string, before map[string]string) map[string]string {
	t.Helper()
	var skip []string
	for _, e := range suiteExclusions {
		skip = append(skip, e.tests)
	}
	args := []string{"tool", "test2json", s.binary, "-test.v=test2json", "-test.timeout=90m", "-test.parallel=8",
		"-test.skip", strings.Join(skip, "|")}
	switch {
	case run.only != nil:
		names := run.only(before)
		if len(names) == 0 {
			return nil
		}
		args = append(args, "-test.run", "^("+strings.Join(names, "|")+")$")
	case only != "":
		args = append(args, "-test.run", only)
	default:
		args = append(args, "-category", run.category)
	}
	if only != "" && run.category == "serial" {
		return nil // -test.run goes before categories: the next run has them all
	}
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = s.folder
	command.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "PATH="+s.path, "SYSTEM_NAMESPACE=tekton-pipelines")
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	leaves, readErr := testlog.Read(io.TeeReader(stdout, logFile(t)))
	err = command.Wait()
	var exit *exec.ExitError
	if readErr != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("Tekton's tests: %v", errors.Join(readErr, err))
	}
	outcomes := map[string]string{}
	for _, leaf := range leaves {
		outcomes[leaf.Name] = suiteOutcome(leaf)
		if outcomes[leaf.Name] == suiteFail {
			t.Logf("%s fails:\n%s", leaf.Name, lastLines(leaf.Output, 60))
		}
	}
	return outcomes
}

// logFile is where all that Tekton's tests print can be read in the end, if TEKTON_SUITE_LOG names one.
func logFile(t *testing.T) io.Writer {
	t.Helper()
	name := os.Getenv("TEKTON_SUITE_LOG")
	if name == "" {
		return io.Discard
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// refusedTooLong is how enforcement names evidence that does not fit: known when the pod is made, or when a step
// has ended.
var refusedTooLong = regexp.MustCompile(
	`results are enforced in its namespace: a step's evidence takes about|UNSIGNED: too-long\b`)

func suiteOutcome(leaf testlog.Leaf) string {
	switch {
	case leaf.Result == testlog.Pass:
		return suitePass
	case leaf.Result == testlog.Skip:
		return "skip: " + skipReason(leaf.Output)
	case leaf.Result == testlog.Fail && refusedTooLong.MatchString(leaf.Around):
		return suiteTooLong
	}
	return suiteFail
}

// skipReason returns the first line that a skipped test gives as its reason, without what lies before. What it
// cleans up comes after.
func skipReason(output string) string {
	lines := strings.Split(output, "\n")
	for _, line := range slices.Backward(lines) {
		if place := regexp.MustCompile(`^\s+\w+_test\.go:\d+: `).FindString(line); place != "" {
			return strings.TrimSpace(strings.TrimPrefix(line, place))
		}
	}
	return "without a reason"
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// skippedTests returns the top-level tests of which Tekton skipped some, for its flags in most cases.
func skippedTests(outcomes map[string]string) []string {
	names := map[string]bool{}
	for name, outcome := range outcomes {
		if strings.HasPrefix(outcome, "skip: ") {
			top, _, _ := strings.Cut(name, "/")
			names[top] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// addExcluded adds the tests that are not run, with the reason.
func (s *suite) addExcluded(t *testing.T, outcomes map[string]string) {
	t.Helper()
	for _, e := range suiteExclusions {
		found := false
		for _, name := range s.tests(t) {
			if regexp.MustCompile(e.tests).MatchString(name) {
				found = true
				outcomes[name] = "not run: " + e.reason
			}
		}
		if !found {
			t.Errorf("no test of Tekton's is excluded by %s", e.tests)
		}
	}
}

func logFigures[K comparable](t *testing.T, outcomes map[K]string) {
	t.Helper()
	figures := map[string]int{}
	for _, outcome := range outcomes {
		figures[outcome]++
	}
	for _, outcome := range slices.Sorted(maps.Keys(figures)) {
		t.Logf("%4d %s", figures[outcome], outcome)
	}
}

// deleteSuiteNamespaces deletes what failed tests keep for inspection.
func (c *cluster) deleteSuiteNamespaces(t *testing.T) {
	ctx := context.Background()
	namespaces, err := c.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: suiteSelector})
	if err != nil {
		t.Error(err)
		return
	}
	for _, ns := range namespaces.Items {
		if err := c.kube.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting the namespace %s: %v", ns.Name, err)
		}
	}
}
