// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// The plugin verifies where there is no network at all: in a network namespace of its own, without any interface
// that is up.
func TestOfflineInAnEmptyNetworkNamespace(t *testing.T) {
	dir := workFolder(t)
	binary := filepath.Join(dir, "kubectl-tekton_sign")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/kubectl-tekton-sign")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the plugin: %v\n%s", err, out)
	}
	inside := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if os.Getuid() != 0 { // an ordinary user needs a user namespace for it
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		}
		return cmd
	}
	// two lines of titles, and the loopback device, which is down
	devices, err := inside("cat", "/proc/self/net/dev").Output()
	if err != nil {
		t.Fatalf("this test needs a network namespace of its own (root, or unprivileged user namespaces): %v", err)
	}
	if bytes.Count(devices, []byte("\n")) != 3 || !bytes.Contains(devices, []byte("lo:")) {
		t.Fatalf("the namespace is not empty:\n%s", devices)
	}
	out, err := inside(binary, "verify", "--allow-unrecorded", "-f", "list.json", "--trust-bundle", "bundle.json",
		"--offline").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
