// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/pki"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/sandbox"
)

// testName is a lab of its own, so that the test does not disturb one that somebody uses.
const testName = "selftest"

// TestLab brings a lab up and down, with two crashes in between, and looks at what the host is left with.
func TestLab(t *testing.T) {
	if err := Check(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	l, err := Open(Options{Name: testName, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	must(t, l.Down(ctx))
	t.Cleanup(func() { must(t, l.Down(context.Background())) })
	must(t, l.Build(ctx))
	before := hostState(t)

	started := time.Now()
	must(t, l.Up(ctx))
	if took := time.Since(started); took > time.Minute {
		t.Errorf("warm start: expected under 60 s, got %v", took)
	}
	first := mustStatus(ctx, t, l)
	if !first.Up || len(first.Components) != 6 {
		t.Fatalf("expected a lab that is up with 6 components, got %+v", first)
	}
	checkTaskRun(ctx, t, l)
	checkSecondUp(ctx, t, l, first)
	checkIsolation(ctx, t, l)
	checkImages(ctx, t, l)
	checkComponents(ctx, t, l)
	checkTaskRun(ctx, t, l)
	checkSPIRE(ctx, t, l)

	// Down.
	traces := tracesOf(t, l, first.Init)
	must(t, l.Down(ctx))
	must(t, l.Down(ctx))
	checkNothingLeft(t, l, traces, before)

	// The supervisor crashes: everything ends with it, and up cleans up.
	must(t, l.Up(ctx))
	pids, _ := sandbox.Running(l.folders.state)
	traces = tracesOf(t, l, pids.Init)
	must(t, syscall.Kill(pids.Supervisor, syscall.SIGKILL))
	eventually(t, "all processes ended with the supervisor", func() bool { return len(traces.processes(t)) == 0 })
	if status := mustStatus(ctx, t, l); status.Up {
		t.Errorf("after a crash: expected a lab that is down, got %+v", status)
	}
	must(t, l.Up(ctx))
	checkTaskRun(ctx, t, l)

	// The init crashes, and down cleans up.
	pids, _ = sandbox.Running(l.folders.state)
	traces = tracesOf(t, l, pids.Init)
	must(t, syscall.Kill(pids.Init, syscall.SIGKILL))
	must(t, l.Down(ctx))
	checkNothingLeft(t, l, traces, before)
}

func checkSecondUp(ctx context.Context, t *testing.T, l *Lab, first Status) {
	t.Helper()
	must(t, l.Up(ctx))
	if diff := cmp.Diff(first, mustStatus(ctx, t, l)); diff != "" {
		t.Errorf("second up: expected no change (-want +got):\n%s", diff)
	}
}

// checkIsolation looks at the lab from inside: it has no way out, and the kernel's settings are not its own to write.
func checkIsolation(ctx context.Context, t *testing.T, l *Lab) {
	t.Helper()
	routes := inside(ctx, t, l, "ip", "route")
	if strings.Contains(routes, "default") {
		t.Errorf("routes inside: expected no default route, got:\n%s", routes)
	}
	host, err := os.ReadFile("/proc/sys/kernel/panic")
	must(t, err)
	if got := inside(ctx, t, l, "cat", "/proc/sys/kernel/panic"); got != "10" {
		t.Errorf("kernel.panic inside: expected 10, got %q", got)
	}
	inside(ctx, t, l, "sh", "-c", "echo 12 > /proc/sys/kernel/panic")
	after, err := os.ReadFile("/proc/sys/kernel/panic")
	must(t, err)
	if string(after) != string(host) {
		t.Errorf("kernel.panic on the host: expected %q, got %q", host, after)
	}
}

func inside(ctx context.Context, t *testing.T, l *Lab, name string, args ...string) string {
	t.Helper()
	command, err := l.Command(ctx, name, args...)
	must(t, err)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s inside the lab: %v: %s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// checkImages loads an image and mounts it as a volume, by tag and by digest.
func checkImages(ctx context.Context, t *testing.T, l *Lab) {
	t.Helper()
	spec := Image{Texts: map[string]string{"/greeting": "hello from an image"}}
	digest, err := l.LoadImage(ctx, "ghcr.io/tekton-sign/example:dev", spec)
	must(t, err)
	for _, reference := range []string{":dev", "@" + digest} {
		pod := object("v1", "Pod", map[string]any{
			"restartPolicy": "Never",
			"containers": []any{map[string]any{
				"name": "main", "image": BusyboxImage,
				"command":      []any{"sh", "-c", "cat /image/greeting > /dev/termination-log"},
				"volumeMounts": []any{map[string]any{"name": "image", "mountPath": "/image"}},
			}},
			"volumes": []any{map[string]any{
				"name": "image", "image": map[string]any{"reference": "ghcr.io/tekton-sign/example" + reference},
			}},
		})
		done := create(ctx, t, l, schema.GroupVersionResource{Version: "v1", Resource: "pods"}, pod,
			func(o map[string]any) bool {
				phase, _, _ := unstructured.NestedString(o, "status", "phase")
				return phase == "Succeeded" || phase == "Failed"
			})
		statuses, _, _ := unstructured.NestedSlice(done, "status", "containerStatuses")
		if text := fmt.Sprint(statuses); !strings.Contains(text, "hello from an image") {
			t.Errorf("volume of image %s: expected its file's content, got %s", reference, text)
		}
	}
}

// checkComponents stops and starts some, one with an extra flag that must take effect.
func checkComponents(ctx context.Context, t *testing.T, l *Lab) {
	t.Helper()
	must(t, l.Restart(ctx, Containerd))
	other := filepath.Join(t.TempDir(), "other.pub")
	_, key, err := pki.ServiceAccountKey()
	must(t, err)
	must(t, os.WriteFile(other, key, 0o600))
	must(t, l.Restart(ctx, APIServer, "--service-account-key-file="+other))
	client, err := l.client()
	must(t, err)
	keys, err := client.Discovery().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(ctx)
	must(t, err)
	if got := strings.Count(string(keys), `"kid"`); got != 2 {
		t.Errorf("issuer keys after a restart with one more: expected 2, got %d: %s", got, keys)
	}
	err = l.Restart(ctx, Scheduler, "--no-such-flag")
	if err == nil || !strings.Contains(err.Error(), "kube-scheduler") || !strings.Contains(err.Error(), "unknown flag") {
		t.Errorf("restart with a wrong flag: expected the component and its last log lines, got %v", err)
	}
	must(t, l.Stop(ctx, Kubelet))
	if got := component(mustStatus(ctx, t, l), Kubelet); got.PID != 0 || got.Wanted {
		t.Errorf("stopped kubelet: expected no process, got %+v", got)
	}
	must(t, l.Up(ctx)) // starts both again
	for _, name := range []string{Kubelet, Scheduler} {
		if got := component(mustStatus(ctx, t, l), name); got.PID == 0 || !got.Wanted {
			t.Errorf("%s after up: expected a process, got %+v", name, got)
		}
	}
	if err := l.Stop(ctx, "kube-proxy"); err == nil {
		t.Error("stop of an unknown component: expected an error, got none")
	}
}

func component(status Status, name string) sandbox.ComponentStatus {
	for _, c := range status.Components {
		if c.Name == name {
			return c
		}
	}
	return sandbox.ComponentStatus{}
}

// checkTaskRun runs a step that emits a result.
func checkTaskRun(ctx context.Context, t *testing.T, l *Lab) {
	t.Helper()
	taskRun := object("tekton.dev/v1", "TaskRun", map[string]any{"taskSpec": map[string]any{
		"results": []any{map[string]any{"name": "greeting"}},
		"steps": []any{map[string]any{
			"name": "echo", "image": BusyboxImage, "script": "#!/bin/sh\necho -n hello > $(results.greeting.path)\n",
		}},
	}})
	resource := schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"}
	done := create(ctx, t, l, resource, taskRun, func(o map[string]any) bool {
		_, completed, _ := unstructured.NestedString(o, "status", "completionTime")
		return completed
	})
	got, _, _ := unstructured.NestedSlice(done, "status", "results")
	want := []any{map[string]any{"name": "greeting", "type": "string", "value": "hello"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s\nstatus: %v", diff, done["status"])
	}
}

func object(version, kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": version, "kind": kind, "spec": spec,
		"metadata": map[string]any{"generateName": "selftest-", "namespace": "default"},
	}}
}

// create makes an object and returns it as soon as it is done.
func create(
	ctx context.Context, t *testing.T, l *Lab, resource schema.GroupVersionResource,
	o *unstructured.Unstructured, done func(map[string]any) bool,
) map[string]any {
	t.Helper()
	config, err := l.RESTConfig()
	must(t, err)
	client, err := dynamic.NewForConfig(config)
	must(t, err)
	objects := client.Resource(resource).Namespace("default")
	var created *unstructured.Unstructured
	// Right after a component came back, the API server may still refuse.
	must(t, wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(ctx context.Context) (bool, error) {
		var err error
		created, err = objects.Create(ctx, o, metav1.CreateOptions{})
		return err == nil, nil
	}))
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 2*time.Minute, true,
		func(ctx context.Context) (bool, error) {
			latest, err := objects.Get(ctx, created.GetName(), metav1.GetOptions{})
			if err == nil {
				created = latest
			}
			return err == nil && done(created.Object), nil
		})
	if err != nil {
		t.Fatalf("%s %s is not done: %v: %v", o.GetKind(), created.GetName(), err, created.Object["status"])
	}
	return created.Object
}

func mustStatus(ctx context.Context, t *testing.T, l *Lab) Status {
	t.Helper()
	status, err := l.Status(ctx)
	must(t, err)
	return status
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Errorf("expected within 10 s: %s", what)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
