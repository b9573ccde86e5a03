// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// TestRecordedAlone expects the record's own verdict, for this state of this TaskRun only.
func TestRecordedAlone(t *testing.T) {
	cluster, err := verifytest.NewECCluster()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := cluster.Trust()
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(bundle, verify.WithClock(verifytest.RecordedAt))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*v1.TaskRun)
		want   bool
	}{
		"as it was":       {func(*v1.TaskRun) {}, true},
		"another result":  {func(tr *v1.TaskRun) { tr.Status.Results[0].Value.StringVal = "evil" }, false},
		"another TaskRun": {func(tr *v1.TaskRun) { tr.UID = "00000000-0000-4000-8000-000000000000" }, false},
		"without messages": {func(tr *v1.TaskRun) {
			for i := range tr.Status.Steps {
				tr.Status.Steps[i].Terminated.Message = ""
			}
		}, false},
		"no record": {func(tr *v1.TaskRun) { delete(tr.Status.Annotations, record.Annotation) }, false},
		"nonsense":  {func(tr *v1.TaskRun) { tr.Status.Annotations[record.Annotation] += "x" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := verifytest.NewRun().TaskRun(cluster)
			if err != nil {
				t.Fatal(err)
			}
			if err := cluster.Record(tr, verifytest.Recording{}); err != nil {
				t.Fatal(err)
			}
			test.change(tr)
			verdict, ok := v.Recorded(tr)
			if ok != test.want || ok && verdict != verify.Verified {
				t.Errorf("expected a good record %v, got %v with %q", test.want, ok, verdict)
			}
		})
	}
}
