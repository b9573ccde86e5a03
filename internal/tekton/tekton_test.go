// SPDX-License-Identifier: Apache-2.0

package tekton

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	"github.com/tektoncd/pipeline/pkg/pod"
	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
)

// TestAsTekton compares the names with Tekton's own code. The tests of pkg/inject compare the entrypoint,
// which is in the pods that Tekton builds.
func TestAsTekton(t *testing.T) {
	for _, name := range []string{"build", "", "step-", "step", "sidecar-a"} {
		if got, want := StepContainer(name), pod.GetContainerName(name); got != want {
			t.Errorf("step %q has the container %q, want %q", name, got, want)
		}
		if got, want := IsStep(name), pod.IsContainerStep(name); got != want {
			t.Errorf("that container %q is a step's is %t, want %t", name, got, want)
		}
	}
	if got := config.GetFeatureFlagsConfigName(); got != FeatureFlags {
		t.Errorf("Tekton's switches are in ConfigMap %s, want %s", got, FeatureFlags)
	}
	file := filepath.Join(t.TempDir(), "message")
	value := strings.Repeat("a", 1000)
	if err := termination.WriteCompressedMessage(file, []result.RunResult{{Key: "a", Value: value}}); err != nil {
		t.Fatal(err)
	}
	message, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(message), CompressedPrefix) {
		t.Errorf("Tekton's compressed message does not begin with %s: %s", CompressedPrefix, message)
	}
}
