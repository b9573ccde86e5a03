// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nightly

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// jumpAfter is how long the clock of a replica is right before it jumps.
const jumpAfter = 15 * time.Second

// jumpSource goes into Go's package time: a program that is built with it finds its wall clock moved by CLOCK_JUMP
// from jumpAfter on. Nothing else of it is changed, and nothing on the machine.
const jumpSource = `package time

import "syscall"

var jumpBy = func() Duration {
	text, _ := syscall.Getenv("CLOCK_JUMP")
	by, _ := ParseDuration(text)
	return by
}()

func jumped(mono int64) int64 {
	if mono-startNano < int64(%d) {
		return 0
	}
	return int64(jumpBy / Second)
}
`

// strikeClock puts the build jumping of the add-on in place and has the clocks of both replicas jump, each
// jumpAfter after it has started, stay there for a while, and be right again. Everybody else's clock is right: that
// of the API server, of Tekton and of the nodes.
func strikeClock(jumping string, jump, stay time.Duration) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		image := "ghcr.io/tekton-sign/controller:clock"
		lab(t, "load", image, "--file", jumping+"=/ko-app/controller", "--entrypoint", "/ko-app/controller")
		patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"controller","image":%q,
			"env":[{"name":"CLOCK_JUMP","value":%q}]}]}}}}`, image, jump)
		c.mustKubectl(t, "patch", "deployment", "tekton-sign-controller", "-n", "tekton-sign", "-p", patch)
		c.mustKubectl(t, "rollout", "status", "deployment/tekton-sign-controller", "-n", "tekton-sign", "--timeout=3m")
		c.eventually(t, "the leader's clock to jump", func(ctx context.Context) (bool, error) {
			lease, err := c.kube.CoordinationV1().Leases("tekton-sign").Get(ctx, "tekton-sign-controller", metav1.GetOptions{})
			if err != nil || lease.Spec.RenewTime == nil {
				return false, err
			}
			return time.Until(lease.Spec.RenewTime.Time).Round(time.Minute) == jump, nil
		})
		time.Sleep(stay)
		if out := c.kubectl(t, "tekton-sign", "status"); !strings.Contains(out.stdout, "the leader's clock is not that") &&
			!strings.Contains(out.stdout, "the leader's clock is behind") {
			t.Errorf("status does not tell of the clock: %s", out)
		}
		c.mustKubectl(t, "rollout", "undo", "deployment/tekton-sign-controller", "-n", "tekton-sign")
		c.mustKubectl(t, "rollout", "status", "deployment/tekton-sign-controller", "-n", "tekton-sign", "--timeout=3m")
		c.awaitReplicas(t)
	}
}

// buildJumping builds the add-on with a clock that jumps, and returns the binary.
func buildJumping(t *testing.T) string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder, source := t.TempDir(), filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	now, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const read = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if bytes.Count(now, []byte(read)) != 1 {
		t.Fatalf("expected %q once in Go's package time: how can its clock be moved in this release?", read)
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for name, content := range map[string][]byte{
		"time.go": bytes.Replace(now, []byte(read), []byte(read+"\tsec += jumped(mono)\n"), 1),
		"jump.go": fmt.Appendf(nil, jumpSource, jumpAfter),
	} {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		overlay["Replace"][filepath.Join(source, name)] = file
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	listed, binary := filepath.Join(folder, "overlay.json"), filepath.Join(folder, "controller")
	if err := os.WriteFile(listed, list, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-overlay", listed, "-o", binary,
		"../../cmd/controller")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the add-on with a clock that jumps: %v\n%s", err, out)
	}
	return binary
}
