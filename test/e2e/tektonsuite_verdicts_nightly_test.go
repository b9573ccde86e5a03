// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/client/informers/externalversions"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

func verdict(reason string, succeeded bool) string {
	return fmt.Sprintf("%s, succeeded: %t", reason, succeeded)
}

// checkVerdicts checks that enforcement was on, and that the evidence of all that succeeds verifies.
func checkVerdicts(t *testing.T, verdicts map[types.UID]string) {
	t.Helper()
	logFigures(t, verdicts)
	found := slices.Collect(maps.Values(verdicts))
	if !slices.Contains(found, verdict(verify.ReasonVerified, true)) {
		t.Error("no TaskRun of Tekton's tests is verified")
	}
	if slices.Contains(found, verdict(verify.ReasonVerificationFailed, true)) {
		t.Error("a TaskRun of Tekton's tests succeeds, and its results do not verify")
	}
}

// watchVerdicts returns a function that returns the last reason of the add-on's condition on each TaskRun since,
// deleted ones among them, and whether it succeeded.
func (c *cluster) watchVerdicts(t *testing.T) func() map[types.UID]string {
	t.Helper()
	var lock sync.Mutex
	reasons := map[types.UID]string{}
	note := func(object any) {
		tr := object.(*pipelinev1.TaskRun)
		if condition := tr.Status.GetCondition(verify.ConditionType); condition != nil {
			lock.Lock()
			defer lock.Unlock()
			reasons[tr.UID] = verdict(condition.Reason, tr.IsSuccessful())
		}
	}
	factory := externalversions.NewSharedInformerFactory(c.tekton, 0)
	handler := cache.ResourceEventHandlerFuncs{AddFunc: note, UpdateFunc: func(_, now any) { note(now) }}
	if _, err := factory.Tekton().V1().TaskRuns().Informer().AddEventHandler(handler); err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	t.Cleanup(factory.Shutdown)
	return func() map[types.UID]string {
		lock.Lock()
		defer lock.Unlock()
		return maps.Clone(reasons)
	}
}

// provisionAlways gives claims volumes until the test ends.
func (c *cluster) provisionAlways(t *testing.T) {
	var provisioner sync.WaitGroup
	provisioner.Go(func() {
		for t.Context().Err() == nil {
			c.provision(t, metav1.NamespaceAll)
			time.Sleep(500 * time.Millisecond)
		}
	})
	t.Cleanup(provisioner.Wait)
}

// readSuiteGolden reads lines of a name, a tabulator and an outcome.
func readSuiteGolden(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(suiteGolden)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, outcome, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || outcomes[name] != "" || outcome == suiteFail {
			t.Fatalf("%s: %q", suiteGolden, line)
		}
		outcomes[name] = outcome
	}
	return outcomes
}

func writeSuiteGolden(t *testing.T, outcomes map[string]string) {
	t.Helper()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		fmt.Fprintf(&b, "%s\t%s\n", name, outcomes[name])
	}
	if err := os.WriteFile(suiteGolden, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
