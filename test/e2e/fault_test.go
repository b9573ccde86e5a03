// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/client/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"knative.dev/pkg/apis"
)

// fault is something that goes wrong while TaskRuns come and go, in a namespace with audit and in one with enforce.
//
// Whatever it is: in audit every TaskRun succeeds and keeps its results, and in enforce none has results that were not
// verified.
type fault struct {
	name string
	// strike makes it go wrong, and returns when it is over.
	strike func(*testing.T, *cluster)
	// hammer: the API server calls the status webhook all the time meanwhile, and no call fails.
	hammer bool
	// harmless: in enforce every TaskRun succeeds too, and in both modes every one is verified.
	harmless bool
	// interrupts: TaskRuns whose steps it ends may fail.
	interrupts bool
}

// TestFaults has the faults that any cluster meets, every week.
func TestFaults(t *testing.T) {
	c := open(t)
	c.enable(t)
	for _, f := range []fault{
		{name: "a rolling update", strike: strikeRollout, harmless: true, hammer: true},
		{name: "a replica is killed", strike: strikeKill},
	} {
		t.Run(f.name, func(t *testing.T) { f.test(t, c) })
	}
}

// Timing of the load: TaskRuns begin one after the other in both namespaces, before the fault, during it, and after it.
const (
	loadPause = 2 * time.Second
	loadLead  = 8 * time.Second
	loadTail  = 6 * time.Second
)

func (f fault) test(t *testing.T, c *cluster) {
	audit, enforce := c.namespace(t, true), c.enforced(t)
	load := c.startLoad(t, audit, enforce)
	time.Sleep(loadLead)
	if f.hammer {
		defer c.startHammer(t, enforce)()
	}
	f.strike(t, c)
	time.Sleep(loadTail)
	load.stop()
	for _, ns := range []string{audit, enforce} {
		runs := c.allDone(t, ns)
		if f.harmless {
			runs = c.allJudged(t, ns)
		}
		if len(runs) < 4 {
			t.Errorf("namespace %s: only %d TaskRuns were there to be struck", ns, len(runs))
		}
		tally := map[string]int{}
		for i := range runs {
			f.check(t, &runs[i], ns == enforce)
			tally[endOf(&runs[i])]++
		}
		t.Logf("%s: %d TaskRuns: %v", map[bool]string{false: "audit", true: "enforce"}[ns == enforce], len(runs), tally)
	}
	c.wantServing(t, audit, enforce)
}

// check holds one TaskRun to what is promised.
func (f fault) check(t *testing.T, tr *pipelinev1.TaskRun, enforced bool) {
	t.Helper()
	judged := tr.Status.GetCondition(conditionType)
	switch {
	case f.harmless:
		wantSucceeded(t, tr)
		wantCondition(t, tr, "True", "TaskRunResultsVerified")
	case enforced && tr.IsSuccessful() && !judged.IsTrue():
		t.Errorf("TaskRun %s succeeded without being verified: %s", tr.Name, describe(tr))
	case enforced && !tr.IsSuccessful() && len(tr.Status.Results) > 0:
		t.Errorf("TaskRun %s failed and has results: %s", tr.Name, describe(tr))
	case !enforced && !tr.IsSuccessful() && !f.interrupts:
		t.Errorf("TaskRun %s was broken in audit: %s", tr.Name, describe(tr))
	case judged != nil && strings.HasPrefix(judged.Message, "FAILED") && tr.IsSuccessful():
		t.Errorf("TaskRun %s is taken for tampered: %s", tr.Name, judged.Message)
	}
	if tr.IsSuccessful() {
		wantResultNames(t, tr, "digest")
	}
}

// endOf says in a few words how a TaskRun ended.
func endOf(tr *pipelinev1.TaskRun) string {
	s := tr.Status.GetCondition(apis.ConditionSucceeded).Reason
	if judged := tr.Status.GetCondition(conditionType); judged != nil {
		verdict, _, _ := strings.Cut(judged.Message, ":")
		return s + " " + verdict
	}
	return s + " not judged"
}

// wantServing wants a TaskRun of now to be verified in each namespace: whatever went wrong is over.
func (c *cluster) wantServing(t *testing.T, namespaces ...string) {
	t.Helper()
	for _, ns := range namespaces {
		tr := loadRun("afterwards")
		c.eventually(t, "a TaskRun to be created in "+ns, func(ctx context.Context) (bool, error) {
			_, err := c.tekton.TektonV1().TaskRuns(ns).Create(ctx, tr, metav1.CreateOptions{})
			return err == nil, nil
		})
	}
	for _, ns := range namespaces {
		runs := c.allDone(t, ns)
		i := slices.IndexFunc(runs, func(tr pipelinev1.TaskRun) bool { return tr.Name == "afterwards" })
		if i < 0 {
			t.Fatalf("namespace %s has no TaskRun afterwards", ns)
		}
		wantSucceeded(t, &runs[i])
		wantCondition(t, &runs[i], "True", "TaskRunResultsVerified")
	}
}

// load makes TaskRuns.
type load struct {
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func (l *load) stop() {
	l.cancel()
	l.ended.Wait()
}

// startLoad makes a TaskRun in each namespace every loadPause. One that cannot be created, because the API server
// is away, is nobody's build.
func (c *cluster) startLoad(t *testing.T, namespaces ...string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	t.Cleanup(l.stop)
	l.ended.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			for _, ns := range namespaces {
				once, done := context.WithTimeout(ctx, 5*time.Second)
				_, _ = c.tekton.TektonV1().TaskRuns(ns).Create(once, loadRun(fmt.Sprintf("run-%d", i)), metav1.CreateOptions{})
				done()
			}
			select {
			case <-ctx.Done():
			case <-time.After(loadPause):
			}
		}
	})
	return l
}

// startHammer writes the status of a completed TaskRun again and again, from many connections, where a call of the
// webhook that fails is an error for the writer. They write as Tekton's controller, because nobody else may. The
// function that it returns ends that.
func (c *cluster) startHammer(t *testing.T, ns string) (stop func()) {
	t.Helper()
	tr := c.start(t, ns, loadRun("anvil"))
	c.awaitDone(t, ns, tr.Name)
	config := rest.CopyConfig(c.config)
	config.Impersonate.UserName = tektonController
	writers := versioned.NewForConfigOrDie(config)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var written atomic.Int64
	for w := range 10 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				patch := fmt.Appendf(nil, `{"status":{"annotations":{"e2e/writer-%d":"%d"}}}`, w, i)
				_, err := writers.TektonV1().TaskRuns(ns).Patch(ctx, tr.Name, types.MergePatchType, patch, metav1.PatchOptions{},
					"status")
				switch {
				case err == nil:
					written.Add(1)
				case ctx.Err() == nil && !apierrors.IsConflict(err):
					t.Errorf("a write was lost after %d others: %v", written.Load(), err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
		t.Logf("%d writes by many at a time", written.Load())
		if written.Load() < 200 {
			t.Errorf("only %d writes were there to be lost", written.Load())
		}
	}
}

// loadRun is a TaskRun of one short step with a result.
func loadRun(name string) *pipelinev1.TaskRun {
	tr := &pipelinev1.TaskRun{ObjectMeta: metav1.ObjectMeta{Name: name}}
	tr.Spec.TaskSpec = &pipelinev1.TaskSpec{
		Results: []pipelinev1.TaskResult{{Name: "digest", Type: pipelinev1.ResultsTypeString}},
		Steps: []pipelinev1.Step{{
			Name: "build", Image: "docker.io/library/busybox:1.36", Command: []string{"sh", "-c"},
			Args: []string{"sleep 1; printf sha256:2c26b46b > $(results.digest.path)"},
		}},
	}
	return tr
}

// allDone waits until every TaskRun of a namespace is done and returns them.
func (c *cluster) allDone(t *testing.T, ns string) []pipelinev1.TaskRun {
	t.Helper()
	var runs []pipelinev1.TaskRun
	c.eventually(t, "all TaskRuns of "+ns+" to be done", func(ctx context.Context) (bool, error) {
		list, err := c.tekton.TektonV1().TaskRuns(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil
		}
		runs = list.Items
		return !slices.ContainsFunc(runs, func(tr pipelinev1.TaskRun) bool { return !tr.IsDone() }), nil
	})
	return runs
}

// allJudged waits until every TaskRun of a namespace has a verdict, which may come late, and returns them.
func (c *cluster) allJudged(t *testing.T, ns string) []pipelinev1.TaskRun {
	t.Helper()
	var runs []pipelinev1.TaskRun
	c.eventually(t, "all TaskRuns of "+ns+" to be judged", func(context.Context) (bool, error) {
		runs = c.allDone(t, ns)
		return !slices.ContainsFunc(runs, func(tr pipelinev1.TaskRun) bool {
			return tr.Status.GetCondition(conditionType).IsUnknown()
		}), nil
	})
	return runs
}

func (c *cluster) getTaskRun(t *testing.T, ns, name string) *pipelinev1.TaskRun {
	t.Helper()
	tr, err := c.tekton.TektonV1().TaskRuns(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// awaitDone waits until a TaskRun is done.
func (c *cluster) awaitDone(t *testing.T, ns, name string) *pipelinev1.TaskRun {
	t.Helper()
	var got *pipelinev1.TaskRun
	c.eventually(t, "TaskRun "+name+" to be done", func(context.Context) (bool, error) {
		got = c.getTaskRun(t, ns, name)
		return got.IsDone(), nil
	})
	return got
}

// replicas returns the add-on's pods that are not being deleted.
func (c *cluster) replicas(t *testing.T) []corev1.Pod {
	t.Helper()
	list, err := c.kube.CoreV1().Pods("tekton-sign").List(t.Context(), metav1.ListOptions{LabelSelector: addOnReplicas})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// leader returns the name of the replica that reconciles.
func (c *cluster) leader(t *testing.T) string {
	t.Helper()
	lease, err := c.kube.CoordinationV1().Leases("tekton-sign").Get(t.Context(), "tekton-sign-controller",
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// awaitReplicas waits until both replicas are ready.
func (c *cluster) awaitReplicas(t *testing.T) {
	t.Helper()
	c.eventually(t, "two replicas", func(ctx context.Context) (bool, error) {
		d, err := c.kube.AppsV1().Deployments("tekton-sign").Get(ctx, "tekton-sign-controller", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == 2 && d.Status.Replicas == 2, nil
	})
}

// strikeRollout replaces both replicas, one by one, and looks that somebody leads soon afterwards: who leaves gives
// the Lease back.
func strikeRollout(t *testing.T, c *cluster) {
	c.mustKubectl(t, "rollout", "restart", "deployment/tekton-sign-controller", "-n", "tekton-sign")
	c.mustKubectl(t, "rollout", "status", "deployment/tekton-sign-controller", "-n", "tekton-sign", "--timeout=3m")
	c.eventually(t, "a new replica to lead", func(context.Context) (bool, error) {
		leader := c.leader(t)
		return slices.ContainsFunc(c.replicas(t), func(p corev1.Pod) bool { return p.Name == leader }), nil
	})
	c.awaitReplicas(t)
}

// strikeKill kills the process of the replica that leads, as the kernel does when memory runs out.
func strikeKill(t *testing.T, c *cluster) {
	leader := c.leader(t)
	i := slices.IndexFunc(c.replicas(t), func(p corev1.Pod) bool { return p.Name == leader })
	if i < 0 {
		t.Fatalf("no replica is called %q, who leads", leader)
	}
	killContainers(t, string(c.replicas(t)[i].UID))
	c.eventually(t, "the container to be restarted", func(ctx context.Context) (bool, error) {
		pod, err := c.kube.CoreV1().Pods("tekton-sign").Get(ctx, leader, metav1.GetOptions{})
		return err == nil && len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].RestartCount > 0, nil
	})
	c.awaitReplicas(t)
}

// killContainers kills the processes of the lab's containers whose control group names id: a pod's UID, or kubepods
// for all.
func killContainers(t *testing.T, id string) {
	t.Helper()
	script := `n=0; for p in /proc/[0-9]*; do
	if grep -q "$1" $p/cgroup 2>/dev/null && ! tr '\0' ' ' < $p/cmdline | grep -q '^/pause'; then
	kill -9 "${p#/proc/}" && n=$((n+1)); fi; done
	test $n -gt 0`
	if out, err := inLab(t, "sh", "-c", script, "sh", id); err != nil {
		t.Fatalf("killing the containers of %s: %v\n%s", id, err, out)
	}
}

// inLab runs a program in the namespaces of the lab that KUBECONFIG names, also in a cleanup.
func inLab(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command, err := exec.CommandContext(context.WithoutCancel(t.Context()), "../../bin/lab",
		append([]string{"exec", "--"}, args...)...).CombinedOutput()
	return string(command), err
}
