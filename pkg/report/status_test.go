// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// nasty is text from a cluster that must not reach a terminal unescaped.
const nasty = "\x1b[2K\rHEALTHY\n\t\u202e"

var lookedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// statusReport returns the report of a cluster in which every part has checks.
func statusReport(change func(*status.Status)) *StatusReport {
	policy := &status.Object{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy",
		Name: "tekton-sign-signing-tokens"}
	webhooks := &status.Object{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration",
		Name: "tekton-sign-status"}
	flags := &status.Object{Kind: "ConfigMap", Namespace: "tekton-pipelines", Name: "feature-flags"}
	s := &status.Status{
		Environment: status.Versions{Kubernetes: "v1.35.4", Tekton: "v1.15.0", TektonNamespace: "tekton-pipelines"},
		Settings: &status.Settings{
			Namespace: "tekton-pipelines", ConfigMap: "config-signing",
			Values: []status.Setting{
				{Name: "backend", Value: "oidc-sa-token", Key: "enforce-nonfalsifiability"},
				{Name: "enforcement", Value: "audit", Key: "signing-enforcement", Default: true},
				{Name: "scope", Value: "namespaces with labels team=" + nasty, Key: "namespace-selector"},
			},
			Namespaces: &status.NamespaceModes{
				InScope: 3, Audit: 2, Enforce: 1, Other: []status.NamespaceMode{{Namespace: "release", Enforcement: "enforce"}},
			},
		},
		AddOn: &status.AddOn{
			Namespace: "tekton-sign", Version: "v1.2.3", Replicas: 2, Available: 2, Updated: 2,
			ControllerImage: "ghcr.io/tekton-sign/controller:v1.2.3", SignerImage: "ghcr.io/tekton-sign/signer:v1.2.3",
		},
		Checks: []status.Check{
			{ID: status.CheckSettings, Part: status.PartSettings, Status: verify.Pass, Message: "can be read"},
			{ID: status.CheckDeployment, Part: status.PartAddOn, Status: verify.Pass, Message: "2 of 2 replicas are available"},
			{
				ID: status.CheckCertificate, Part: status.PartAddOn, Status: verify.Note,
				Message: "its authority is valid until 2026-01-09T00:00:00Z",
			},
			{
				ID: status.CheckObjects, Part: status.PartInstallation, Status: verify.Fail, Object: policy,
				Message: "is missing", Next: "kubectl tekton-sign enable oidc-sa-token",
			},
			{
				ID: status.CheckObjects, Part: status.PartInstallation, Status: verify.Fail, Object: webhooks,
				Message: "was changed",
				Field:   "webhooks[status-enforce.tekton-sign.dev].failurePolicy", Expected: "Fail", Got: nasty,
				Next: "kubectl tekton-sign enable oidc-sa-token",
			},
			{
				ID: status.CheckObjects, Part: status.PartInstallation, Status: verify.Unknown,
				Message: "clusterroles: you may not read them (tekton-sign-controller)",
			},
			{ID: status.CheckTekton, Part: status.PartTekton, Status: verify.Pass, Message: "version v1.15.0"},
			{
				ID: status.CheckBackoff, Part: status.PartTekton, Status: verify.Warn, Object: flags,
				Field:    "data.enable-wait-exponential-backoff",
				Expected: "true", Got: "(absent)", Message: "results are enforced", Next: "kubectl patch",
			},
		},
		Verdicts: &status.Verdicts{
			Looked: 2000, More: true, Verified: 2, Failed: 1, NotJudged: 7,
			Newest: []status.Verdict{
				{
					Namespace: "ci", Name: "build", Verdict: verify.Verified, At: lookedAt.Add(-90 * time.Second),
					Message: "VERIFIED: 2 results as signed in the pod",
				},
				{
					Namespace: "release", Name: "publish-to-everywhere", Verdict: verify.Failed, At: lookedAt.Add(-3 * time.Hour),
					Message: "FAILED: results " + nasty,
				},
			},
		},
	}
	if change != nil {
		change(s)
	}
	s.Conclude(false)
	r := NewStatus(s)
	r.Tool = version.Info{Version: "v1.2.3"} // the build's own version would change the golden files
	return r
}

func printStatus(t *testing.T, r *StatusReport, format string, options StatusOptions) string {
	t.Helper()
	write, err := StatusPrinter(format, options)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := write(r, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestStatusFormats(t *testing.T) {
	for name, c := range map[string]struct {
		format  string
		options StatusOptions
	}{
		"status.txt":          {"table", StatusOptions{}},
		"status-terminal.txt": {"table", StatusOptions{Style: NewStyle(true), Now: lookedAt}},
		"status.json":         {"json", StatusOptions{}},
		"status.yaml":         {"yaml", StatusOptions{}},
		"status-names.txt":    {"name", StatusOptions{}},
		"status-jsonpath.txt": {
			`jsonpath={range .checks[?(@.status=="fail")]}{.id}: {.message} {.got}{"\n"}{end}`, StatusOptions{},
		},
		"status-template.txt": {`go-template={{.outcome}} {{.summary.failed}}{{"\n"}}`, StatusOptions{}},
	} {
		text := printStatus(t, statusReport(nil), c.format, c.options)
		compareGolden(t, name, []byte(text))
		if !c.options.Now.IsZero() {
			continue // it contains colours
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !display.Visible(r) }); i >= 0 {
			t.Errorf("%s holds %q", name, text[i:i+4])
		}
	}
}

// TestStatusOutcome checks that the outcome is the last line.
func TestStatusOutcome(t *testing.T) {
	keep := func(statuses ...verify.Status) func(*status.Status) {
		return func(s *status.Status) {
			var kept []status.Check
			for _, c := range s.Checks {
				for _, status := range statuses {
					if c.Status == status {
						kept = append(kept, c)
					}
				}
			}
			s.Checks = kept
		}
	}
	for _, c := range []struct {
		change func(*status.Status)
		want   string
	}{
		{nil, "✗ BROKEN: 2 checks failed, 1 could not be made, 1 warning"},
		{keep(verify.Pass, verify.Warn, verify.Unknown), "? UNKNOWN: 1 check could not be made"},
		{keep(verify.Pass, verify.Warn), "! WARNINGS: signing is on, with 1 warning"},
		{keep(verify.Pass, verify.Note), "✓ HEALTHY: signing is on, and all is well"},
	} {
		lines := strings.Split(strings.TrimSuffix(printStatus(t, statusReport(c.change), "table", StatusOptions{}),
			"\n"), "\n")
		if got := lines[len(lines)-1]; got != c.want {
			t.Errorf("last line: got %q, want %q", got, c.want)
		}
	}
	off := statusReport(keep(verify.Pass))
	off.Conclude(true)
	if text := printStatus(t, off, "table", StatusOptions{}); !strings.HasSuffix(text, "\n! OFF: signing is off\n") {
		t.Errorf("got:\n%s", text)
	}
}

// TestStatusMachines checks that JSON and YAML have the same complete content, which matches docs/schema.
func TestStatusMachines(t *testing.T) {
	r := statusReport(nil)
	var fromJSON, fromYAML StatusReport
	text := printStatus(t, r, "json", StatusOptions{})
	if err := json.Unmarshal([]byte(text), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(printStatus(t, r, "yaml", StatusOptions{})), &fromYAML); err != nil {
		t.Fatal(err)
	}
	for _, got := range []StatusReport{fromJSON, fromYAML} {
		if diff := cmp.Diff(*r, got); diff != "" {
			t.Errorf("machines read something else (-want +got):\n%s", diff)
		}
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(filepath.Join("..", "..", "docs", "schema", "statusreport.v1alpha1.json"))
	if err != nil {
		t.Fatal(err)
	}
	object, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(object); err != nil {
		t.Error(err)
	}
	object.(map[string]any)["outcome"] = "splendid"
	if schema.Validate(object) == nil {
		t.Error("the schema takes an outcome that does not exist")
	}
}

func TestStatusFormatErrors(t *testing.T) {
	for _, format := range []string{"xml", "table=x", "jsonpath", "jsonpath=", "jsonpath={", "go-template={{",
		"jsonpath-file=/nonexistent"} {
		if _, err := StatusPrinter(format, StatusOptions{}); err == nil || !strings.HasPrefix(err.Error(), "--output: ") {
			t.Errorf("%s: got %v", format, err)
		}
	}
}
