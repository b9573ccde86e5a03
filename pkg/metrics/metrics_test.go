// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/admission"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// TestMetrics counts one of everything and reads what Prometheus would.
func TestMetrics(t *testing.T) {
	m := New(version.Info{Version: "v1.2.3", GoVersion: "go1.26", Revision: "abc"})
	m.Verdict(verify.Result{Backend: signing.BackendOIDCSAToken, Verdict: verify.Failed, Reason: "results"})
	m.Verdict(verify.Result{Verdict: verify.Unsigned, Reason: "no evidence\nat all"})
	m.Verdict(verify.Result{Backend: signing.BackendSPIRE, Verdict: verify.Verified})
	m.Webhook("status")(admission.OutcomePatched, 40*time.Millisecond, 3*time.Millisecond)
	m.Webhook("inject")(admission.OutcomePanic, 0, time.Second)
	m.Retry()
	m.CatchUp(nil)
	m.Record(errors.New("conflict"))
	m.Stuck(true)
	m.Refused(false)
	m.Leading(true)
	m.TrustHistory(7, time.Unix(1750000000, 0))
	m.APIRequests().Increment(t.Context(), "200", "GET", "api.example:443")
	m.LogLine("error")
	queue := m.Queues()
	queue.NewDepthMetric("grants").Inc()
	queue.NewRetriesMetric("grants").Inc()
	queue.NewLongestRunningProcessorSecondsMetric("grants").Set(90)
	queue.NewLongestRunningProcessorSecondsMetric("records").Set(2)

	got := scrape(t, m)
	for _, want := range []string{
		`tekton_sign_verdicts_total{backend="oidc-sa-token",reason="results",verdict="FAILED"} 1`,
		`tekton_sign_verdicts_total{backend="unknown",reason="other",verdict="UNSIGNED"} 1`,
		`tekton_sign_verdicts_total{backend="spire",reason="none",verdict="VERIFIED"} 1`,
		`tekton_sign_webhook_duration_seconds_bucket{outcome="patched",webhook="status",le="0.05"} 1`,
		`tekton_sign_webhook_duration_seconds_bucket{outcome="patched",webhook="status",le="0.025"} 0`,
		`tekton_sign_webhook_work_seconds_bucket{webhook="status",le="0.0025"} 0`,
		`tekton_sign_webhook_work_seconds_bucket{webhook="status",le="0.005"} 1`,
		`tekton_sign_webhook_duration_seconds_count{outcome="panic",webhook="inject"} 1`,
		`tekton_sign_retries_total 1`,
		`tekton_sign_catch_ups_total{outcome="succeeded"} 1`,
		`tekton_sign_catch_ups_total{outcome="failed"} 0`,
		`tekton_sign_records_total{outcome="failed"} 1`,
		`tekton_sign_stuck_pods_total{outcome="left-alone"} 1`,
		`tekton_sign_stuck_pods_total{outcome="injected"} 0`,
		`tekton_sign_refusals_total{outcome="left-alone"} 0`,
		`tekton_sign_refusals_total{outcome="injected"} 1`,
		`tekton_sign_leader 1`,
		`tekton_sign_trust_history_keys 7`,
		`tekton_sign_trust_history_checked_timestamp_seconds 1.75e+09`,
		`tekton_sign_api_requests_total{code="200",method="GET"} 1`,
		`tekton_sign_log_lines_total{level="error"} 1`,
		`tekton_sign_queue_depth{queue="grants"} 1`,
		`tekton_sign_queue_retries_total{queue="grants"} 1`,
		`tekton_sign_queue_longest_running_seconds{queue="grants"} 90`,
		`tekton_sign_build_info{go_version="go1.26",revision="abc",version="v1.2.3"} 1`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if longest := m.LongestWork(); longest != 90*time.Second {
		t.Errorf("longest work: expected 90 s, got %s", longest)
	}
	if m.Leading(false); !slices.Contains(scrape(t, m), "tekton_sign_leader 0") {
		t.Error("a replica that lost the lead still shows it")
	}
}

// TestBoundedLabels has a cluster full of reasons that no version of this program gives.
func TestBoundedLabels(t *testing.T) {
	m := New(version.Info{})
	for i := range 1000 {
		m.Verdict(verify.Result{Verdict: verify.Failed, Reason: fmt.Sprintf("reason-%d", i)})
	}
	lines := slices.DeleteFunc(scrape(t, m),
		func(l string) bool { return !strings.HasPrefix(l, "tekton_sign_verdicts_total{") })
	if len(lines) != 65 {
		t.Errorf("expected 64 reasons and other, got %d", len(lines))
	}
	if want := `tekton_sign_verdicts_total{backend="unknown",reason="other",verdict="FAILED"} 936`; !slices.Contains(
		lines, want) {
		t.Errorf("missing: %s", want)
	}
}

func scrape(t *testing.T, m *Metrics) []string {
	t.Helper()
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(recorder.Body)
	if err != nil || recorder.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", recorder.Code, err, body)
	}
	return strings.Split(string(body), "\n")
}

// TestDocumented wants docs/operations.md to list every metric of the add-on, and none that there is not.
func TestDocumented(t *testing.T) {
	m := New(version.Info{})
	m.Verdict(verify.Result{})
	m.Webhook("status")(admission.OutcomeAllowed, 0, 0)
	m.APIRequests().Increment(t.Context(), "200", "GET", "")
	m.LogLine("info")
	q := m.Queues()
	q.NewDepthMetric("q")
	q.NewAddsMetric("q")
	q.NewLatencyMetric("q")
	q.NewWorkDurationMetric("q")
	q.NewLongestRunningProcessorSecondsMetric("q")
	q.NewRetriesMetric("q")
	var has []string
	for _, line := range scrape(t, m) {
		if name, ok := strings.CutPrefix(line, "# TYPE tekton_sign_"); ok {
			has = append(has, "tekton_sign_"+strings.Fields(name)[0])
		}
	}
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(tekton_sign_[a-z_]+)").FindAllSubmatch(text, -1) {
		listed = append(listed, string(row[1]))
	}
	slices.Sort(has)
	slices.Sort(listed)
	if diff := cmp.Diff(has, listed); diff != "" {
		t.Errorf("metrics (-have +documented):\n%s", diff)
	}
}
