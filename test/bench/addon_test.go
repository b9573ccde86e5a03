// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/client/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Sizes of the benchmarks with the add-on.
const (
	pairs     = 15
	requested = 10 // TaskRuns whose requests are counted
)

// BenchmarkAddOn runs real TaskRuns with and without the add-on on the cluster of KUBECONFIG, and then makes
// the add-on judge 500 status writes, 100 at a time: with each backend in turn. It turns signing on for its own
// namespace, and off again.
func BenchmarkAddOn(b *testing.B) {
	for _, backend := range benchBackends() {
		b.Run(string(backend), func(b *testing.B) { benchAddOn(b, string(backend)) })
	}
}

func benchAddOn(b *testing.B, backend string) {
	b.Helper()
	c := connect(b)
	c.enable(b, backend)
	signed, plain := c.namespace(b, true), c.namespace(b, false)
	c.run(b, plain, "warm-up") // pulls the image and fills the caches
	c.run(b, signed, "warm-up")
	// Each takes longer than a benchmark by default, so it runs once.
	b.Run("pairs", func(b *testing.B) { c.comparePairs(b, signed, plain) })
	b.Run("requests", func(b *testing.B) { c.compareRequests(b, signed, plain) })
	b.Run("writes", func(b *testing.B) { c.replayWrites(b, signed) })
}

// lab is a cluster with the add-on.
type lab struct {
	kube   kubernetes.Interface
	tekton versioned.Interface
}

func connect(b *testing.B) *lab {
	b.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		b.Fatal(err)
	}
	config.QPS = -1
	return &lab{kube: kubernetes.NewForConfigOrDie(config), tekton: versioned.NewForConfigOrDie(config)}
}

const benchLabel = "bench.tekton-sign.dev/signed"

func (c *lab) enable(b *testing.B, backend string) {
	b.Helper()
	plugin := func(args ...string) {
		out, err := exec.CommandContext(context.WithoutCancel(b.Context()), "../../bin/kubectl-tekton_sign",
			args...).CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	plugin("enable", backend, "--namespace-selector", benchLabel+"=true", "--yes")
	b.Cleanup(func() { plugin("disable", "--purge", "--yes") })
}

func (c *lab) namespace(b *testing.B, signed bool) string {
	b.Helper()
	ns, err := c.kube.CoreV1().Namespaces().Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "tekton-sign-bench-", Labels: map[string]string{benchLabel: strconv.FormatBool(signed)},
	}}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.kube.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			b.Error(err)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, err := c.kube.CoreV1().ServiceAccounts(ns.Name).Get(b.Context(), "default", metav1.GetOptions{})
		if err == nil && signed {
			_, err = c.kube.RbacV1().RoleBindings(ns.Name).Get(b.Context(), "tekton-sign-token-requester", metav1.GetOptions{})
		}
		if err == nil {
			return ns.Name
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}

// run runs a TaskRun of two steps with ten results and returns it with the time from its creation until it
// was complete.
func (c *lab) run(b *testing.B, ns, name string) (*v1.TaskRun, time.Duration) {
	b.Helper()
	client := c.tekton.TektonV1().TaskRuns(ns)
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	watch, err := client.Watch(ctx,
		metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	if err != nil {
		b.Fatal(err)
	}
	defer watch.Stop()
	start := time.Now()
	if _, err := client.Create(ctx, realRun(name), metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	for event := range watch.ResultChan() {
		if tr, ok := event.Object.(*v1.TaskRun); ok && tr.IsDone() {
			if !tr.IsSuccessful() {
				b.Fatalf("TaskRun %s failed: %+v", name, tr.Status.Conditions)
			}
			return tr, time.Since(start)
		}
	}
	b.Fatalf("TaskRun %s did not end", name)
	return nil, 0
}

func realRun(name string) *v1.TaskRun {
	tr := &v1.TaskRun{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.TaskRunSpec{TaskSpec: &v1.TaskSpec{}}}
	for step := range 2 {
		var script strings.Builder
		for i := range 5 {
			result := fmt.Sprintf("result-%d-%d", step, i)
			tr.Spec.TaskSpec.Results = append(tr.Spec.TaskSpec.Results, v1.TaskResult{Name: result, Type: v1.ResultsTypeString})
			fmt.Fprintf(&script, "printf sha256:2c26b46b68ffc68ff99b453c1d304134 > $(results.%s.path)\n", result)
		}
		tr.Spec.TaskSpec.Steps = append(tr.Spec.TaskSpec.Steps, v1.Step{
			Name: fmt.Sprintf("step-%d", step), Image: "docker.io/library/busybox:1.36",
			Command: []string{"sh", "-c"}, Args: []string{script.String()},
		})
	}
	return tr
}

// comparePairs reports how much longer TaskRuns take with the add-on. The two runs of a pair follow each
// other, and take turns in being first.
func (c *lab) comparePairs(b *testing.B, signed, plain string) {
	b.Helper()
	var with, without, added []time.Duration
	for i := range pairs {
		name := fmt.Sprintf("pair-%d", i)
		var one, two time.Duration
		if i%2 == 0 {
			_, one = c.run(b, plain, name)
			_, two = c.run(b, signed, name)
		} else {
			_, two = c.run(b, signed, name)
			_, one = c.run(b, plain, name)
		}
		without, with, added = append(without, one), append(with, two), append(added, two-one)
	}
	b.ReportMetric(float64(median(without).Milliseconds()), "ms-taskrun-without")
	b.ReportMetric(float64(median(with).Milliseconds()), "ms-taskrun-with")
	b.ReportMetric(float64(median(added).Milliseconds()), "ms-added-median-of-pairs")
}

// compareRequests reports how many more requests the API server gets for a TaskRun with the add-on.
func (c *lab) compareRequests(b *testing.B, signed, plain string) {
	b.Helper()
	count := func(ns string) map[string]float64 {
		before := c.apiRequests(b)
		for i := range requested {
			c.run(b, ns, fmt.Sprintf("counted-%d", i))
		}
		time.Sleep(3 * time.Second) // requests that follow a TaskRun
		after := c.apiRequests(b)
		for kind := range after {
			after[kind] -= before[kind]
		}
		return after
	}
	without, with := count(plain), count(signed)
	total := 0.0
	for _, kind := range slices.Sorted(maps.Keys(with)) {
		if added := (with[kind] - without[kind]) / requested; added > 0.05 || added < -0.05 {
			b.Logf("requests a TaskRun: %+.1f %s", added, kind)
			total += added
		}
	}
	b.ReportMetric(total, "requests-added/taskrun")
}

// counted matches the resources whose requests belong to TaskRuns. Leases, nodes and the like do not.
var counted = regexp.MustCompile(
	`^(pods|serviceaccounts|taskruns|events|configmaps|secrets|tokenreviews|subjectaccessreviews)$`)

var requestTotal = regexp.MustCompile(`^apiserver_request_total\{(.*)\} (\S+)$`)

// apiRequests returns how many requests the API server has had, by their kind.
func (c *lab) apiRequests(b *testing.B) map[string]float64 {
	b.Helper()
	total := map[string]float64{}
	for _, line := range c.metrics(b, "/metrics") {
		m := requestTotal.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		l := labels(m[1])
		if counted.MatchString(l["resource"]) && l["verb"] != "WATCH" && l["verb"] != "LIST" {
			value, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				b.Fatal(err)
			}
			total[strings.TrimSuffix(l["verb"]+" "+l["resource"]+"/"+l["subresource"], "/")] += value
		}
	}
	if len(total) == 0 {
		b.Fatal("the API server counts no requests")
	}
	return total
}

var label = regexp.MustCompile(`(\w+)="([^"]*)"`)

func labels(text string) map[string]string {
	all := map[string]string{}
	for _, m := range label.FindAllStringSubmatch(text, -1) {
		all[m[1]] = m[2]
	}
	return all
}

func (c *lab) metrics(b *testing.B, path string) []string {
	b.Helper()
	raw, err := c.kube.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var lines []string
	scanner := bufio.NewScanner(strings.NewReader(string(raw)))
	for scanner.Buffer(nil, 1<<20); scanner.Scan(); {
		lines = append(lines, scanner.Text())
	}
	return lines
}

// replayWrites runs 100 TaskRuns, and then changes the results of each five times, all at once. The add-on
// judges each write. It reports the replicas' own histograms, and the peak of their memory.
func (c *lab) replayWrites(b *testing.B, ns string) {
	b.Helper()
	runs := c.manyRuns(b, ns)
	before := c.replicas(b)
	watch, stop := context.WithCancel(b.Context())
	var peak float64
	var sampling, writing sync.WaitGroup
	sampling.Go(func() {
		for watch.Err() == nil {
			for _, r := range c.replicas(b) {
				peak = max(peak, r.memory)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	start := time.Now()
	for _, tr := range runs {
		writing.Go(func() { c.rewrite(b, tr, replayed/concurrent) })
	}
	writing.Wait()
	took := time.Since(start)
	stop()
	sampling.Wait()
	time.Sleep(5 * time.Second)
	idle := 0.0
	for _, kind := range []string{"duration", "work"} {
		all := histogram{}
		for name, r := range c.replicas(b) {
			all.add(r.status[kind], 1)
			all.add(before[name].status[kind], -1)
			idle = max(idle, r.memory)
		}
		b.ReportMetric(all.percentile(50), "ms-p50-status-"+kind+"-at-most")
		b.ReportMetric(all.percentile(99), "ms-p99-status-"+kind+"-at-most")
	}
	b.ReportMetric(replayed/took.Seconds(), "status-writes/s")
	b.ReportMetric(peak/(1<<20), "MiB-replica-peak")
	b.ReportMetric(idle/(1<<20), "MiB-replica-afterwards")
}

// manyRuns runs TaskRuns, a few at a time.
func (c *lab) manyRuns(b *testing.B, ns string) []*v1.TaskRun {
	b.Helper()
	runs := make([]*v1.TaskRun, concurrent)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range next {
				runs[i], _ = c.run(b, ns, fmt.Sprintf("replayed-%d", i))
			}
		})
	}
	for i := range runs {
		next <- i
	}
	close(next)
	wg.Wait()
	return runs
}

// rewrite changes the first result of a completed TaskRun n times.
func (c *lab) rewrite(b *testing.B, tr *v1.TaskRun, n int) {
	for i := range n {
		results := slices.Clone(tr.Status.Results)
		results[0].Value.StringVal = fmt.Sprintf("changed-%d", i)
		patch, err := json.Marshal(map[string]any{"status": map[string]any{"results": results}})
		if err != nil {
			b.Error(err)
			return
		}
		_, err = c.tekton.TektonV1().TaskRuns(tr.Namespace).Patch(b.Context(), tr.Name, types.MergePatchType, patch,
			metav1.PatchOptions{}, "status")
		if err != nil {
			b.Error(err)
			return
		}
	}
}

// replica holds the metrics of a replica of the add-on.
type replica struct {
	memory float64              // resident, in bytes
	status map[string]histogram // of the status webhook, for duration and work
}

var statusBucket = regexp.MustCompile(
	`^tekton_sign_webhook_(duration|work)_seconds_bucket\{.*webhook="status",le="([^"]+)"\} (\S+)$`)
