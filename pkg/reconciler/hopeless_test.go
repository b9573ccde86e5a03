// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// What the API server answers if Tekton's webhook takes no object so large, word for word.
func tektonRefuses() error {
	return apierrors.NewInternalError(
		errors.New(`failed calling webhook "webhook.pipeline.tekton.dev": failed to call webhook: ` +
			"the server rejected our request for an unknown reason"))
}

// padded is a TaskRun of at least that many bytes.
func padded(bytes int) func(*v1.TaskRun) {
	return func(tr *v1.TaskRun) { tr.Annotations = map[string]string{"pad": strings.Repeat("x", bytes)} }
}

// A TaskRun that no webhook can be shown twice is given up, whether its verdict or its record is missing. Every other
// failure of a webhook passes.
func TestRecordsTooLarge(t *testing.T) {
	unjudged := func(bytes int) func(*v1.TaskRun) {
		return func(tr *v1.TaskRun) {
			padded(bytes)(tr)
			tr.Status.Conditions = tr.Status.Conditions[:1]
		}
	}
	internal := func(text string) error { return apierrors.NewInternalError(errors.New(text)) }
	own := `failed calling webhook "status-enforce.tekton-sign.dev": failed to call webhook: context deadline exceeded`
	for name, test := range map[string]struct {
		change  func(*v1.TaskRun)
		refusal error
		givenUp bool
	}{
		"the record":              {padded(1_567_000), tektonRefuses(), true},
		"the verdict":             {unjudged(1_567_000), tektonRefuses(), true},
		"the verdict, in etcd":    {unjudged(1_567_000), internal("etcdserver: request is too large"), true},
		"of a usual size":         {nil, tektonRefuses(), false},
		"of half the size":        {padded(800_000), tektonRefuses(), false},
		"just below":              {padded(1_540_000), tektonRefuses(), false},
		"without verdict, usual":  {unjudged(10_000), tektonRefuses(), false},
		"the add-on is away":      {padded(1_567_000), internal(own), false},
		"another failure":         {padded(1_567_000), internal("etcdserver: leader changed"), false},
		"the API server is away":  {padded(1_567_000), errors.New("connection refused"), false},
		"the API server is tired": {padded(1_567_000), apierrors.NewTooManyRequests("failed calling webhook", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newRecordsLab(t, test.change)
			lab.refusal = test.refusal
			core, logs := observer.New(zapcore.DebugLevel)
			lab.Log = zap.New(core).Sugar()
			var err error
			for range 3 {
				err = lab.Reconcile(t.Context(), "ci/build")
			}
			told := lab.told(t)
			if !test.givenUp {
				if err == nil || lab.givenUp != 0 || len(lab.patches) != 3 || len(told) != 0 {
					t.Errorf("expected to try again, got %v after %d writes, given up %d times, events %q", err, len(lab.patches),
						lab.givenUp, told)
				}
				return
			}
			if err != nil || len(lab.patches) != 1 || lab.givenUp != 1 || len(told) != 1 {
				t.Fatalf("%v after %d writes, given up %d times, events %q", err, len(lab.patches), lab.givenUp, told)
			}
			for _, want := range []string{"Warning " + ReasonNotRecorded, "the TaskRun takes 15", " bytes"} {
				if !strings.Contains(told[0], want) {
					t.Errorf("expected %q in the event, got %q", want, told[0])
				}
			}
			if all := logs.All(); len(all) != 1 || all[0].Level != zapcore.InfoLevel {
				t.Errorf("expected one line at level info, got %v", all)
			}
		})
	}
}

// Tekton may write again what was given up: that is tried once more, and neither said nor counted again.
func TestRecordsGivenUpOnce(t *testing.T) {
	lab := newRecordsLab(t, padded(1_567_000))
	for version, refusal := range []error{tektonRefuses(),
		apierrors.NewInternalError(errors.New("etcdserver: request is too large"))} {
		lab.refusal = refusal
		object := untyped(t, lab.stored(t))
		object.SetResourceVersion(strconv.Itoa(version + 8))
		if err := lab.api.Tracker().Update(tektonResource(TaskRuns), object, "ci"); err != nil {
			t.Fatal(err)
		}
		if err := lab.Reconcile(t.Context(), "ci/build"); err != nil {
			t.Fatal(err)
		}
	}
	if told := lab.told(t); len(lab.patches) != 2 || lab.givenUp != 1 || len(lab.verdicts) != 1 || len(told) != 1 {
		t.Errorf("%d writes, given up %d times, verdicts %q, events %q", len(lab.patches), lab.givenUp, lab.verdicts, told)
	}
}
