// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// TestRecord has the add-on record what it verified, and verifies what is left of TaskRuns with that.
func TestRecord(t *testing.T) {
	c := open(t)
	c.enable(t)
	t.Run("on", func(t *testing.T) {
		t.Run("archive", func(t *testing.T) { t.Parallel(); testRecordedArchive(t, c) })
		t.Run("bad verdict", func(t *testing.T) { t.Parallel(); testRecordedFailure(t, c) })
	})
	t.Run("catching up", func(t *testing.T) { testCatchUp(t, c) })
	t.Run("material is kept", func(t *testing.T) { testKeptMaterial(t, c) })
}

// recorded waits for the record of a TaskRun.
func (c *cluster) recorded(t *testing.T, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	var got *pipelinev1.TaskRun
	c.eventually(t, "the record of TaskRun "+tr.Name, func(ctx context.Context) (bool, error) {
		var err error
		got, err = c.tekton.TektonV1().TaskRuns(tr.Namespace).Get(ctx, tr.Name, metav1.GetOptions{})
		return err == nil && got.Status.Annotations[record.Annotation] != "", err
	})
	return got
}

// eventsOf lists the events of a TaskRun that the add-on made.
func (c *cluster) eventsOf(t *testing.T, tr *pipelinev1.TaskRun) []string {
	t.Helper()
	list, err := c.kube.CoreV1().Events(tr.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range list.Items {
		if e.InvolvedObject.UID == tr.UID && e.Source.Component == "tekton-sign-controller" {
			told = append(told, e.Type+" "+e.Reason+": "+e.Message)
		}
	}
	return told
}

// proof is what a report says of record and time.
type proof struct {
	Items []struct {
		Time *struct {
			Source  string    `json:"source"`
			At      time.Time `json:"at"`
			Trusted bool      `json:"trusted"`
		} `json:"time"`
		Record *struct {
			Recorder string   `json:"recorder"`
			Verdict  string   `json:"verdict"`
			KeyIDs   []string `json:"keyIDs"`
		} `json:"record"`
	} `json:"items"`
}

// wantProof expects verify to show a record with the verdict VERIFIED, and its time.
func (c *cluster) wantProof(t *testing.T, args ...string) {
	t.Helper()
	out := c.kubectl(t, append([]string{"tekton-sign", "verify", "-o", "json"}, args...)...)
	var p proof
	if err := json.Unmarshal([]byte(out.stdout), &p); err != nil || out.code != 0 || len(p.Items) != 1 {
		t.Fatalf("want one VERIFIED: %v\n%s", err, out)
	}
	at, r := p.Items[0].Time, p.Items[0].Record
	if at == nil || at.Source != "record" || !at.Trusted || at.At.IsZero() {
		t.Errorf("time is %+v, want a trusted one from the record", at)
	}
	if r == nil || r.Recorder != trust.AddOn || r.Verdict != "VERIFIED" || len(r.KeyIDs) != 1 {
		t.Errorf("record is %+v, want one of the add-on that says VERIFIED", r)
	}
}

func testRecordedArchive(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	tr := c.recorded(t, c.finish(t, ns, fixture(t, "results")))
	c.wantProof(t, "-n", ns, "taskrun/"+tr.Name)
	if told := c.eventsOf(t, tr); len(told) > 0 {
		t.Errorf("events of a good verdict: %q", told)
	}

	// Nobody but the add-on writes the record, and no other writer takes it away.
	kept := tr.Status.Annotations[record.Annotation]
	for name, value := range map[string]any{"another record": "v1.AA.a.b.c", "no record": nil} {
		annotations := map[string]any{record.Annotation: value}
		patch, err := json.Marshal(map[string]any{"status": map[string]any{"annotations": annotations}})
		if err != nil {
			t.Fatal(err)
		}
		after, err := c.tekton.TektonV1().TaskRuns(ns).Patch(t.Context(), tr.Name, types.MergePatchType, patch,
			metav1.PatchOptions{}, "status")
		if err != nil || after.Status.Annotations[record.Annotation] != kept {
			t.Errorf("%s: want the record as it was, got %.60s, %v", name, after.Status.Annotations[record.Annotation], err)
		}
	}

	dir := t.TempDir()
	bundle, file := filepath.Join(dir, "bundle.json"), filepath.Join(dir, "taskrun.yaml")
	writeFile(t, bundle, c.mustKubectl(t, "tekton-sign", "trust", "export"))
	writeFile(t, file, c.mustKubectl(t, "get", "taskrun", tr.Name, "-n", ns, "-o", "yaml"))
	if err := c.kube.CoreV1().Pods(ns).Delete(t.Context(), tr.Status.PodName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually(t, "the end of the pod", func(ctx context.Context) (bool, error) {
		_, err := c.kube.CoreV1().Pods(ns).Get(ctx, tr.Status.PodName, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	c.wantProof(t, "-f", file, "--trust-bundle", bundle, "--offline")
	c.wantProof(t, "-n", ns, "taskrun/"+tr.Name)
	if out := c.kubectl(t, "tekton-sign", "verify", "-v", "-f", file, "--trust-bundle", bundle); !strings.Contains(
		out.stdout, "recorded as VERIFIED by "+trust.AddOn) {
		t.Errorf("verify -v does not show the record: %s", out)
	}
	testChangedArchive(t, c, tr, dir, bundle)
}

// testChangedArchive changes what nothing but the record vouches for.
func testChangedArchive(t *testing.T, c *cluster, tr *pipelinev1.TaskRun, dir, bundle string) {
	for name, change := range map[string]func(*pipelinev1.TaskRun){
		"declaration": func(tr *pipelinev1.TaskRun) { tr.Status.TaskSpec.Results[0].Description = "changed" },
		"start":       func(tr *pipelinev1.TaskRun) { tr.Status.StartTime.Time = tr.Status.StartTime.Add(time.Second) },
		"value":       func(tr *pipelinev1.TaskRun) { resultOf(t, tr, "digest").Value.StringVal = "sha256:0000" },
	} {
		changed := tr.DeepCopy()
		changed.APIVersion, changed.Kind = "tekton.dev/v1", "TaskRun"
		change(changed)
		file := filepath.Join(dir, name+".yaml")
		writeFile(t, file, describe(changed))
		r := c.verify(t, "FAILED", 4, "-f", file, "--trust-bundle", bundle)
		if failed := r.failedChecks(); !slices.Contains(failed, "record") {
			t.Errorf("%s changed: failed checks are %q, want record among them", name, failed)
		}
	}
	bare := tr.DeepCopy()
	bare.APIVersion, bare.Kind = "tekton.dev/v1", "TaskRun"
	for i := range bare.Status.Steps {
		bare.Status.Steps[i].Terminated.Message = ""
	}
	file := filepath.Join(dir, "bare.yaml")
	writeFile(t, file, describe(bare))
	c.wantProof(t, "-f", file, "--trust-bundle", bundle, "--offline")
}

func testRecordedFailure(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	tr := c.recorded(t, c.finish(t, ns, withoutToken(fixture(t, "results"))))
	told := c.eventsOf(t, tr)
	if len(told) != 1 || !strings.HasPrefix(told[0], "Warning TaskRunResultsVerificationFailed: UNSIGNED: no-credential") {
		t.Errorf("events are %q, want one Warning that says UNSIGNED", told)
	}
	r := c.verify(t, "UNSIGNED", 3, "-n", ns, "taskrun/"+tr.Name)
	if failed := r.failedChecks(); len(failed) > 0 {
		t.Errorf("failed checks are %q, want none", failed)
	}
}

// testCatchUp ends TaskRuns while the add-on is gone. In audit they complete, and are judged when it comes back.
func testCatchUp(t *testing.T, c *cluster) {
	ns := c.namespace(t, true)
	tr := c.inSecondStep(t, ns, slow(t, "20"))
	c.scale(t, 0)
	tr = c.watchUntil(t, tr, "is done", (*pipelinev1.TaskRun).IsDone)
	wantSucceeded(t, tr)
	wantResultNames(t, tr, "digest", "tags", "image")
	if got := tr.Status.GetCondition(conditionType); got != nil && !got.IsUnknown() {
		t.Fatalf("there is a verdict without an add-on: %+v", got)
	}
	c.scale(t, 2)
	tr = c.recorded(t, tr)
	got := wantCondition(t, tr, "True", "TaskRunResultsVerified")
	if !strings.Contains(got.Message, "verified late") {
		t.Errorf("the message does not say that the verdict is a late one: %s", got.Message)
	}
	told := c.eventsOf(t, tr)
	if len(told) != 1 || !strings.HasPrefix(told[0], "Normal TaskRunResultsVerifiedLate: VERIFIED") {
		t.Errorf("events are %q, want one that says late", told)
	}
	c.wantProof(t, "-n", ns, "taskrun/"+tr.Name)
}

// testKeptMaterial leaves the signing material in status.results, and verifies an archive with that that has
// nothing else.
func testKeptMaterial(t *testing.T, c *cluster) {
	c.mustKubectl(t, enableArgs("--keep-material", "--yes")...)
	ns := c.namespace(t, true)
	var tr *pipelinev1.TaskRun
	c.eventually(t, "the setting to be in force", func(ctx context.Context) (bool, error) {
		tr = loadRun("")
		tr.GenerateName = "kept-"
		made, err := c.tekton.TektonV1().TaskRuns(ns).Create(ctx, tr, metav1.CreateOptions{})
		if err != nil {
			return false, err
		}
		tr = c.awaitDone(t, ns, made.Name)
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
		return slices.ContainsFunc(tr.Status.Results,
			func(r pipelinev1.TaskRunResult) bool { return r.Name == "SIGNING_TOKEN" }), nil
	})
	c.verify(t, "VERIFIED", 0, "-n", ns, "taskrun/"+tr.Name)

	dir := t.TempDir()
	bundle, file := filepath.Join(dir, "bundle.json"), filepath.Join(dir, "taskrun.yaml")
	writeFile(t, bundle, c.mustKubectl(t, "tekton-sign", "trust", "export"))
	tr.APIVersion, tr.Kind = "tekton.dev/v1", "TaskRun"
	tr.Status.Steps[0].Terminated.Message = ""
	delete(tr.Status.Annotations, record.Annotation)
	writeFile(t, file, describe(tr))
	c.verify(t, "VERIFIED", 0, "-f", file, "--trust-bundle", bundle, "--offline", "--allow-unrecorded")
	c.verify(t, "INDETERMINATE", 2, "-f", file, "--trust-bundle", bundle, "--offline")
	resultOf(t, tr, "digest").Value.StringVal = "sha256:0000"
	writeFile(t, file, describe(tr))
	c.verify(t, "FAILED", 4, "-f", file, "--trust-bundle", bundle, "--offline")
}

// scale gives the add-on so many replicas and waits until it has them.
func (c *cluster) scale(t *testing.T, replicas int32) {
	t.Helper()
	deployments := c.kube.AppsV1().Deployments("tekton-sign")
	scale, err := deployments.GetScale(t.Context(), "tekton-sign-controller", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale.Spec.Replicas = replicas
	if _, err := deployments.UpdateScale(t.Context(), "tekton-sign-controller", scale,
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually(t, "the replicas of the add-on", func(ctx context.Context) (bool, error) {
		pods, err := c.kube.CoreV1().Pods("tekton-sign").List(ctx, metav1.ListOptions{LabelSelector: addOnReplicas})
		if err != nil {
			return false, err
		}
		ready := 0
		for _, pod := range pods.Items {
			for _, condition := range pod.Status.Conditions {
				if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		return len(pods.Items) == int(replicas) && ready == len(pods.Items), nil
	})
}
