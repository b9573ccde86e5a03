// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	testlab "github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spiretest"
)

// TestNightlySPIREThousand registers a thousand TaskRuns whose pods a quota keeps away, so that one node can have them.
// A third are cancelled, a third deleted, and the rest deleted while no replica of the add-on runs: no entry is left.
func TestNightlySPIREThousand(t *testing.T) {
	const many = 1000
	s := newSPIRESuite(t, spiretest.Add(t, testlab.SPIREOptions{}))
	s.enableSPIRE(t)
	ns := s.scope(t, false)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "no-pods"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}},
	}
	if _, err := s.kube.CoreV1().ResourceQuotas(ns).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		s.start(t, ns, emitting(fmt.Sprintf("run-%d", i), "x", "", 1))
	}
	s.untilEntries(t, many)

	taskRuns := s.tekton.TektonV1().TaskRuns(ns)
	cancel := fmt.Appendf(nil, `{"spec":{"status":%q}}`, pipelinev1.TaskRunSpecStatusCancelled)
	for i := range many * 2 / 3 {
		name := fmt.Sprintf("run-%d", i)
		if i%2 == 0 {
			_, err := taskRuns.Patch(t.Context(), name, types.MergePatchType, cancel, metav1.PatchOptions{})
			must(t, err)
			continue
		}
		must(t, taskRuns.Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	s.untilEntries(t, many-many*2/3)

	s.mustKubectl(t, "scale", "-n", "tekton-sign", "deployment", "-l", partOf, "--replicas=0")
	s.mustKubectl(t, "wait", "-n", "tekton-sign", "--for=delete", "pod", "-l", addOnReplicas, "--timeout=2m")
	must(t, taskRuns.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	s.mustKubectl(t, "scale", "-n", "tekton-sign", "deployment", "-l", partOf, "--replicas=2")
	s.untilEntries(t, 0)
}

// untilEntries waits until so many TaskRuns are registered.
func (s *spireSuite) untilEntries(t *testing.T, want int) {
	t.Helper()
	got, started := -1, time.Now()
	s.eventually(t, fmt.Sprintf("%d entries of TaskRuns", want), func(context.Context) (bool, error) {
		got = 0
		for _, e := range s.Entries(t) {
			if strings.Contains(e.SPIFFEID.Path(), "/taskrun/") {
				got++
			}
		}
		return got == want, nil
	})
	t.Logf("%d entries after %s", got, time.Since(started).Round(time.Second))
}
