// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e tests the product as its users meet it: the plugin called through the real kubectl, on a real cluster
// with a stock Tekton release. `make test-e2e` starts such a cluster on this machine, or takes the one that
// KUBECONFIG names.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pipelinev1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/client/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/yaml"
)

// selector marks the namespaces in which the tests turn signing on.
const selector = "e2e.tekton-sign.dev/signed=true"

// addOnReplicas selects the pods that serve the webhooks.
const addOnReplicas = "app.kubernetes.io/name=controller,app.kubernetes.io/part-of=tekton-sign"

// patience bounds every wait for the cluster.
const patience = 3 * time.Minute

// cluster is the cluster under test.
type cluster struct {
	config     *rest.Config
	kube       kubernetes.Interface
	tekton     versioned.Interface
	dynamic    dynamic.Interface
	kubeconfig string
	path       string // PATH with the binaries under test in front
}

// open connects to the cluster that KUBECONFIG names and finds the binaries under test.
func open(t *testing.T) *cluster {
	t.Helper()
	kubeconfig := os.Getenv("KUBECONFIG")
	if kubeconfig == "" {
		t.Fatal("KUBECONFIG is not set: run the tests by `make test-e2e`")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 200, 200
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		config:     config,
		kube:       kubernetes.NewForConfigOrDie(config),
		tekton:     versioned.NewForConfigOrDie(config),
		dynamic:    dynamic.NewForConfigOrDie(config),
		kubeconfig: kubeconfig,
		path:       bin + ":" + os.Getenv("PATH"),
	}
	if out := c.kubectl(t, "tekton-sign", "version"); out.code != 0 {
		t.Fatalf("the plugin does not answer through kubectl: %s", out)
	}
	return c
}

// output is what a program printed and how it ended.
type output struct {
	stdout, stderr string
	code           int
}

func (o output) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", o.code, o.stdout, o.stderr)
}

// kubectl runs the real kubectl, which finds the plugin on PATH.
func (c *cluster) kubectl(t *testing.T, args ...string) output {
	t.Helper()
	return c.kubectlWithInput(t, "", args...)
}

func (c *cluster) kubectlWithInput(t *testing.T, stdin string, args ...string) output {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	return c.kubectlUntil(ctx, t, stdin, args...)
}

// kubectlUntil runs kubectl in a context other than the test's, which is over when a test cleans up.
func (c *cluster) kubectlUntil(ctx context.Context, t *testing.T, stdin string, args ...string) output {
	t.Helper()
	return run(ctx, t, stdin, c.environment(), "kubectl", args...)
}

// environment is what makes kubectl find the plugin and the cluster.
func (c *cluster) environment() []string {
	return []string{"PATH=" + c.path, "KUBECONFIG=" + c.kubeconfig}
}

// run runs a program with the environment of the test, env on top.
func run(ctx context.Context, t *testing.T, stdin string, env []string, name string, args ...string) output {
	t.Helper()
	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			name = lookPath(t, path, name)
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running %s: %v", name, err)
	}
	return output{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

func lookPath(t *testing.T, path, name string) string {
	t.Helper()
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode()&0o111 != 0 {
			return file
		}
	}
	t.Fatalf("%s is not on PATH %s", name, path)
	return ""
}

// enable turns signing on in the tests' namespaces and leaves nothing of it when the test has ended.
func (c *cluster) enable(t *testing.T) {
	t.Helper()
	c.enableIn(t, "--namespace-selector", selector)
}

// enableIn does so where scope, a flag and its value, says.
func (c *cluster) enableIn(t *testing.T, scope ...string) {
	t.Helper()
	c.enableWith(t, append([]string{"oidc-sa-token", "--receipts", "never"}, scope...)...)
}

// enableWith turns a backend on with flags, and off again when the test ends.
func (c *cluster) enableWith(t *testing.T, backend ...string) {
	t.Helper()
	args := append([]string{"tekton-sign", "enable", "--yes"}, backend...)
	if out := c.kubectl(t, args...); out.code != 0 {
		t.Fatalf("enable: %s", out)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		if out := c.kubectlUntil(ctx, t, "", "tekton-sign", "disable", "--purge", "--yes"); out.code != 0 {
			t.Errorf("disable: %s", out)
		}
	})
}

// mustKubectl runs kubectl, ends the test if it fails, and returns its standard output.
func (c *cluster) mustKubectl(t *testing.T, args ...string) string {
	t.Helper()
	out := c.kubectl(t, args...)
	if out.code != 0 {
		t.Fatalf("kubectl %s: %s", strings.Join(args, " "), out)
	}
	return out.stdout
}

// namespace creates a namespace that is deleted with the test. In a signed one signing is on, and the function
// returns when the grant is in place.
func (c *cluster) namespace(t *testing.T, signed bool) string {
	t.Helper()
	if !signed {
		return c.namespaceWith(t, nil)
	}
	key, value, _ := strings.Cut(selector, "=")
	ns := c.namespaceWith(t, map[string]string{key: value})
	c.awaitProtection(t, ns)
	return ns
}

// namespaceWith creates a namespace with labels that is deleted with the test.
func (c *cluster) namespaceWith(t *testing.T, labels map[string]string) string {
	t.Helper()
	ns, err := c.kube.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if t.Failed() {
			t.Logf("the namespace %s is kept for inspection", ns.Name)
			return
		}
		if err := c.kube.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting the namespace: %v", err)
		}
	})
	c.eventually(t, "the default service account of "+ns.Name, func(ctx context.Context) (bool, error) {
		_, err := c.kube.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	return ns.Name
}

// eventually waits until condition holds; an error of condition ends the test.
func (c *cluster) eventually(t *testing.T, what string, condition func(context.Context) (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, err := condition(t.Context())
		switch {
		case err != nil:
			t.Fatalf("waiting for %s: %v", what, err)
		case ok:
			return
		case time.Now().After(deadline):
			t.Fatalf("waiting for %s: not after %s", what, patience)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// fixture reads a TaskRun of testdata/taskruns.
func fixture(t *testing.T, name string) *pipelinev1.TaskRun {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "taskruns", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var tr pipelinev1.TaskRun
	if err := yaml.UnmarshalStrict(data, &tr); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &tr
}

// start creates a TaskRun.
func (c *cluster) start(t *testing.T, namespace string, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	tr, err := c.tekton.TektonV1().TaskRuns(namespace).Create(t.Context(), tr, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// watchUntil follows a TaskRun until condition holds and returns it as it was then.
func (c *cluster) watchUntil(t *testing.T, tr *pipelinev1.TaskRun, what string,
	condition func(*pipelinev1.TaskRun) bool) *pipelinev1.TaskRun {
	t.Helper()
	if condition(tr) {
		return tr
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := c.tekton.TektonV1().TaskRuns(tr.Namespace)
	var last *pipelinev1.TaskRun
	_, err := watchtools.Until(ctx, tr.ResourceVersion, taskRunWatcher(client.Watch, tr.Name),
		func(e watch.Event) (bool, error) {
			got, ok := e.Object.(*pipelinev1.TaskRun)
			if !ok {
				return false, fmt.Errorf("unexpected %s event: %v", e.Type, e.Object)
			}
			last = got
			return condition(got), nil
		})
	if err != nil {
		t.Fatalf("waiting until TaskRun %s/%s %s: %v\nlast seen: %s", tr.Namespace, tr.Name, what, err, describe(last))
	}
	return last
}

type watchFunc func(context.Context, metav1.ListOptions) (watch.Interface, error)

type singleWatcher struct {
	watch watchFunc
	name  string
}

func taskRunWatcher(w watchFunc, name string) singleWatcher {
	return singleWatcher{watch: w, name: name}
}

func (w singleWatcher) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.name).String()
	return w.watch(ctx, o)
}

func (w singleWatcher) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return w.WatchWithContext(context.Background(), o)
}

// finish runs a TaskRun and returns it as it was in the very write that completed it.
func (c *cluster) finish(t *testing.T, namespace string, tr *pipelinev1.TaskRun) *pipelinev1.TaskRun {
	t.Helper()
	return c.watchUntil(t, c.start(t, namespace, tr), "is done", (*pipelinev1.TaskRun).IsDone)
}

func describe(tr *pipelinev1.TaskRun) string {
	data, err := yaml.Marshal(tr)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (c *cluster) pipelineRunUntil(t *testing.T, pr *pipelinev1.PipelineRun, what string,
	wanted func(*pipelinev1.PipelineRun) bool) *pipelinev1.PipelineRun {
	t.Helper()
	var got *pipelinev1.PipelineRun
	c.eventually(t, fmt.Sprintf("PipelineRun %s to be %s", pr.Name, what), func(ctx context.Context) (bool, error) {
		var err error
		got, err = c.tekton.TektonV1().PipelineRuns(pr.Namespace).Get(ctx, pr.Name, metav1.GetOptions{})
		return err == nil && wanted(got), err
	})
	return got
}
